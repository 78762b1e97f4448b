/**
 * The metrics format read the plain way: the whole page into lines, each line into name, labels and value. What the
 * scraper reads in place is held to this.
 */
import type { EngineAdapters } from '#phyllo/data/scrape/adapter-series.js'
import { DIALECTS, type Dialect, VALUE, VALUES } from '#phyllo/data/scrape/dialects.js'
import type { Core } from '#phyllo/data/scrape/page.js'

export interface Series {
  readonly name: string
  /** Values as they stand on the page, escapes and all. */
  readonly labels: ReadonlyMap<string, string>
  /** The number's text. */
  readonly number: string
}

/** Undefined for a line that holds no sample. */
export function parseLine(line: string): Series | undefined {
  const head = /^[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(.*)$/s.exec(line)
  if (head === null) return undefined
  const [, name = '', rest = ''] = head
  // What follows a name is labels or a blank, or it is another name.
  if (!rest.startsWith('{') && !/^[ \t]*[a-zA-Z_:][a-zA-Z0-9_:]*[ \t]/.test(line)) return undefined
  const labels = new Map<string, string>()
  let text = rest
  if (text.startsWith('{')) {
    text = text.slice(1)
    for (;;) {
      text = text.replace(/^[ \t]*,?[ \t]*/, '')
      if (text.startsWith('}')) break
      const label = /^([^=\s]+)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"/s.exec(text)
      if (label === null) return undefined
      labels.set(label[1] ?? '', label[2] ?? '')
      text = text.slice(label[0].length)
    }
    text = text.slice(1)
  }
  return { name, labels, number: text.trim().split(/[ \t]/)[0] ?? '' }
}

export const parsePage = (page: string): Series[] => page.split('\n').flatMap(line => parseLine(line) ?? [])

/** A number that can be counted on: decimal, not negative, below 2^31. */
function countOf(text: string): number | undefined {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) return undefined
  const number = Number(text)
  return number >= 0 && number < 2 ** 31 ? number : undefined
}

/** An engine's cores by what the page says, sorted by label. */
export function naiveCores(page: string, engine: string): Core[] {
  const dialect = dialectOf(engine)
  const cores = new Map<string, Core>()
  for (const { name, labels, number } of parsePage(page)) {
    const uses = dialect.uses.filter(({ metric }) => metric === name)
    if (uses.length === 0) continue
    const label = labels.get(dialect.core) ?? ''
    const core = cores.get(label) ?? { label, values: new Float64Array(VALUES).fill(Number.NaN) }
    cores.set(label, core)
    for (const { value, where, labels: sources } of uses) {
      if (where !== undefined && labels.get(where[0]) !== where[1]) continue
      const texts = sources === undefined ? [number] : sources.map(source => labels.get(source) ?? '')
      const count = countOf(
        texts.find(text => sources === undefined || (/\d/.test(text) && !Number.isNaN(Number(text)))) ?? '',
      )
      const before = core.values[VALUE[value]] ?? Number.NaN
      if (count !== undefined && !(before >= count)) core.values[VALUE[value]] = count
    }
  }
  return sorted([...cores.values()])
}

export function dialectOf(engine: string): Dialect {
  const dialect = DIALECTS.find(each => each.engine === engine)
  if (dialect === undefined) throw new Error(`no dialect '${engine}'`)
  return dialect
}

export const sorted = (cores: readonly Core[]): Core[] =>
  [...cores].sort((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0))

const unescaped = (raw: string): string =>
  raw.replaceAll(/\\([\\"n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))

const names = (raw: string): string[] => [
  ...new Set(
    unescaped(raw)
      .split(',')
      .map(name => name.trim())
      .filter(name => name !== ''),
  ),
]

/** What a page of vLLM says of adapters: its series sorted by time, those without any adapter behind all others. */
export function naiveAdapters(page: string): EngineAdapters | undefined {
  const all = parsePage(page)
    .filter(({ name, labels }) => name === 'vllm:lora_requests_info' && labels.size > 0)
    .map(({ labels, number }) => ({
      time: /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(number) ? Number(number) : Number.NaN,
      running: labels.get('running_lora_adapters') ?? '',
      waiting: labels.get('waiting_lora_adapters') ?? '',
      max: labels.get('max_lora') ?? '',
    }))
    .filter(({ time }) => time >= 0)
  if (all.some(({ time }) => time > 3e9)) return undefined
  const isIdle = ({ running, waiting }: (typeof all)[number]): boolean => running + waiting === ''
  const [latest] = all.sort((a, b) => Number(isIdle(a)) - Number(isIdle(b)) || b.time - a.time)
  if (latest === undefined || !/^\d+(\.0*)?$/.test(latest.max) || Number(latest.max) === 0) return undefined
  const { running, waiting, max } = latest
  return { max: Math.min(Number(max), 64), running: names(running), waiting: names(waiting) }
}
