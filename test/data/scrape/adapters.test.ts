/** What engines say of LoRA adapters, as it is read from their pages. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { Gauge, Registry } from 'prom-client'
import { MOST_TOLD } from '#phyllo/data/scrape/adapter-series.js'
import { ALL_NEEDLES, type Needle } from '#phyllo/data/scrape/needles.js'
import { type Page, PageReader } from '#phyllo/data/scrape/page.js'
import { readingOf } from '#phyllo/data/scrape/reading.js'
import { naiveAdapters } from './naive.js'

const RUNNING = 'vllm:num_requests_running{engine="0",model_name="m"} 0.0\n'
const recorded = readFileSync(
  new URL('../../../../test/fixtures/captures/metrics/vllm-0.32.0-nixl.txt', import.meta.url),
  'utf8',
)

function read(page: string, sizes: readonly number[] = [], needles: readonly Needle[] = ALL_NEEDLES) {
  const reader = new PageReader()
  reader.begin(needles)
  const bytes = Buffer.from(page)
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? bytes.length)
    const piece = Buffer.from(bytes.subarray(at, at + size))
    reader.push(piece, 0, piece.length)
    at += size
  }
  return reader.finish()
}

const adaptersOf = (page: Page | undefined, rank?: number) => page && readingOf(page, rank)?.adapters

const series = (
  running: string,
  waiting: string,
  seconds: number | string,
  max: number | string = 4,
): string =>
  `vllm:lora_requests_info{max_lora="${max}",running_lora_adapters="${running}",waiting_lora_adapters="${waiting}"} ${seconds}`

/** A recorded page with this gauge where vLLM has it: registered last, but for the cache's configuration. */
const withGauge = (...lines: readonly string[]): string =>
  recorded.replace(
    '# HELP vllm:cache_config_info',
    [
      '# HELP vllm:lora_requests_info Running stats on lora requests.',
      '# TYPE vllm:lora_requests_info gauge',
      ...lines,
      '# HELP vllm:cache_config_info',
    ].join('\n'),
  )

test('a page as vLLM writes it: of several series, the one set last', t => {
  const page = withGauge(
    series('', '', '1.7898284981e+09'),
    series('sql,chat', 'code', '1.789828498802105e+09'),
    series('sql', 'chat,code', '1.789828498302e+09'),
    series('sql,chat', '', '1.78982849e+09'),
  )
  const expected = { max: 4, running: ['sql', 'chat'], waiting: ['code'] }
  for (const sizes of [[], [1000], [7]]) {
    const found = read(page, sizes)
    t.deepEqual(adaptersOf(found), expected)
    t.deepEqual(adaptersOf(read(page, sizes, found?.needles)), expected)
    t.like(found && readingOf(found, undefined), { engine: 'vllm', blockSize: 32, blocks: 256 })
  }
})

test('an engine that has nothing to do keeps what it had last, and one that never had any has all its places', t => {
  const idle = series('', '', 1_789_828_600, 2)
  const page = withGauge(idle, series('a', '', 1_789_828_400, 2), series('b', '', 1_789_828_500, 2))
  t.deepEqual(adaptersOf(read(page)), { max: 2, running: ['b'], waiting: [] })
  t.deepEqual(adaptersOf(read(withGauge(idle))), { max: 2, running: [], waiting: [] })
  t.is(adaptersOf(read(withGauge())), undefined)
  t.is(adaptersOf(read(recorded)), undefined)
})

test('names: escapes, blanks around commas, none twice', t => {
  t.deepEqual(adaptersOf(read(withGauge(series('a\\"b\\\\c\\nd, e ,é,,e', '/data/x-7:2,a}b', 1)))), {
    max: 4,
    running: ['a"b\\c\nd', 'e', 'é'],
    waiting: ['/data/x-7:2', 'a}b'],
  })
  // The name that the format would need an escape for, told by its raw end.
  t.deepEqual(adaptersOf(read(withGauge(series('a\\\\', 'b\\\\n', 1))))?.running, ['a\\'])
})

test('data-parallel ranks share the gauge, so that it says nothing of any of them', t => {
  const gauge = `${series('a', '', 1)}\n`
  const second = 'vllm:num_requests_running{engine="1",model_name="m"} 0.0\n'
  t.deepEqual(adaptersOf(read(RUNNING + gauge), 0)?.running, ['a'])
  t.is(adaptersOf(read(RUNNING + second + gauge)), undefined)
  t.is(adaptersOf(read(RUNNING + second + gauge), 1), undefined)
})

test('times that API servers have added up tell nobody the latest', t => {
  t.is(adaptersOf(read(withGauge(series('a', '', 3.58e9), series('b', '', 1.79e9)))), undefined)
  t.is(adaptersOf(read(withGauge(series('b', '', 1.79e9), series('', '', 3.58e9)))), undefined)
})

test('what makes no sense says nothing', t => {
  for (const max of ['', '0', '-1', 'x', '2.5', 'Inf', '1e999'])
    t.is(adaptersOf(read(withGauge(series('a', '', 1, max)))), undefined, max)
  for (const time of ['', 'NaN', '-1', 'x', '+Inf'])
    t.is(adaptersOf(read(withGauge(series('a', '', time)))), undefined, time)
  for (const line of [
    'vllm:lora_requests_info 1',
    'vllm:lora_requests_info{max_lora="1"',
    'vllm:lora_requests_info{} 1',
  ])
    t.is(adaptersOf(read(withGauge(line))), undefined, line)
  // The gauge alone makes no engine.
  t.is(read(`${series('a', '', 1)}\n`), undefined)
})

test('lies are bounded: thousands of adapters, huge names, a hundred thousand series, more places than can be', t => {
  const many = (count: number, name = 'a'): string =>
    Array.from({ length: count }, (_, i) => `${name}${i}`).join(',')
  const told = adaptersOf(read(withGauge(series(many(2000), many(2000, 'b'), 1, 1e9)), [4096]))
  t.is(told?.max, MOST_TOLD)
  t.deepEqual(told?.running, many(MOST_TOLD).split(','))
  t.is(told?.waiting.length, MOST_TOLD)
  for (const sizes of [[], [65_536], [10_000]]) {
    t.is(adaptersOf(read(withGauge(series('x'.repeat(20_000), '', 2), series('a', '', 1)), sizes)), undefined)
    t.is(adaptersOf(read(withGauge(series('', many(5000), 1)), sizes)), undefined)
  }
  // A line beyond all bounds is none.
  const longest = withGauge(series('x'.repeat(1 << 20), '', 2), series('a', '', 1))
  t.deepEqual(adaptersOf(read(longest, [10_000]))?.running, ['a'])
  const lines = Array.from({ length: 100_000 }, (_, i) => series(`a${i}`, '', 1e9 + ((i * 7919) % 100_003)))
  t.deepEqual(adaptersOf(read(withGauge(...lines), [65_536])), naiveAdapters(lines.join('\n')))
})

test('a page that says the same gives the same object, so that nothing is made anew', t => {
  const reader = new PageReader()
  const once = (page: string) => {
    reader.begin(ALL_NEEDLES)
    const bytes = Buffer.from(page)
    reader.push(bytes, 0, bytes.length)
    return adaptersOf(reader.finish())
  }
  const first = once(withGauge(series('a', 'b', 1)))
  t.is(once(withGauge(series('a', 'b', 2))), first)
  t.deepEqual(once(withGauge(series('a', 'c', 3))), { max: 4, running: ['a'], waiting: ['c'] })
  t.is(once(withGauge()), undefined)
  t.deepEqual(once(withGauge(series('a', 'b', 1))), first)
})

// Pages at random

const blank = fc.constantFrom('', ' ', '\t')
const rawName = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'sql-lora',
    'é',
    ' c ',
    '',
    'vllm:lora_requests_info',
    '} 7',
    '#',
    '\\"',
    '\\\\',
    '\\n',
    '{',
    '=',
  ),
  fc.constantFrom('a', 'b'),
)
const rawList = fc.array(rawName, { maxLength: 4 }).map(list => list.join(','))
const label = fc.oneof(
  fc.tuple(fc.constantFrom('running_lora_adapters', 'waiting_lora_adapters'), rawList),
  fc.tuple(fc.constant('max_lora'), fc.constantFrom('1', '4', '8', '100', '0', 'x', '')),
  fc.tuple(fc.constantFrom('engine', 'running_lora_adapters_', 'model_name'), rawList),
)
const time = fc.oneof(
  { weight: 8, arbitrary: fc.nat(20).map(n => String(1_789_828_498 + n / 8)) },
  { weight: 4, arbitrary: fc.nat(2e9).map(n => n.toExponential()) },
  { weight: 1, arbitrary: fc.constantFrom('NaN', '-1', '0', 'x', '3.6e9', '+7', '.5', '') },
)
const usual = fc
  .record({ running: rawList, waiting: rawList, max: fc.constantFrom('2', '4') })
  .map(({ running, waiting, max }): [string, string][] => [
    ['max_lora', max],
    ['running_lora_adapters', running],
    ['waiting_lora_adapters', waiting],
  ])
const line = fc
  .record({
    labels: fc.oneof(
      { weight: 5, arbitrary: usual },
      { weight: 1, arbitrary: fc.array(label, { minLength: 1, maxLength: 5 }) },
    ),
    blanks: fc.tuple(blank, blank, blank),
    time,
    after: fc.constantFrom('', '', ' 1700000000000', '\t'),
  })
  .map(({ labels, blanks: [b0, b1, b2], time: seconds, after }) => {
    const text = [...new Map(labels)].map(([name, value]) => `${b1}${name}${b1}=${b2}"${value}"`).join(',')
    return `${b0}vllm:lora_requests_info{${text}${b2}} ${seconds}${after}`
  })
const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 4 })

test('random series, in random pieces, are read as a plain parser reads them', t => {
  let told = 0
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.boolean(), sizes, (lines, isFirst, pieces) => {
      const gauge = `# TYPE vllm:lora_requests_info gauge\n${lines.map(each => `${each}\n`).join('')}`
      const other = `# HELP x vllm:lora_requests_info{max_lora="1"} 5\n# TYPE x gauge\nx{a="1"} 1\n${RUNNING}`
      const page = isFirst ? gauge + other : other + gauge
      const expected = naiveAdapters(page)
      const found = read(page, pieces)
      t.deepEqual(adaptersOf(found), expected, page)
      t.deepEqual(adaptersOf(read(page, pieces, found?.needles)), expected)
      t.like(found && readingOf(found, undefined), { running: 0 })
      if (expected !== undefined && expected.running.length > 0) told++
    }),
    { numRuns: 1000 },
  )
  t.true(told > 200, String(told))
})

test('pages as prom-client writes them, of adapters with any name that has no comma', async t => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
    .map(text => text.replaceAll(',', ';').trim())
    .filter(text => text !== '')
  const names = fc.uniqueArray(name, { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(names, names, fc.nat(1e9)), { minLength: 1, maxLength: 6 }),
      async rows => {
        const registry = new Registry()
        const labelNames = ['max_lora', 'running_lora_adapters', 'waiting_lora_adapters']
        const help = 'Running stats\non "lora" requests.'
        const gauge = new Gauge({ name: 'vllm:lora_requests_info', help, labelNames, registers: [registry] })
        const latest = new Map<string, (typeof rows)[number]>()
        for (const row of rows) {
          const [running, waiting, seconds] = row
          const labels = {
            max_lora: '8',
            running_lora_adapters: running.join(','),
            waiting_lora_adapters: waiting.join(','),
          }
          gauge.set(labels, seconds)
          latest.set(JSON.stringify(labels), row)
        }
        const page = RUNNING + (await registry.metrics())
        const found = adaptersOf(read(page))
        const isBusy = ([running, waiting]: (typeof rows)[number]): boolean =>
          running.length + waiting.length > 0
        const all = [...latest.values()]
        const busy = all.filter(isBusy)
        const most = Math.max(...(busy.length > 0 ? busy : all).map(([, , seconds]) => seconds))
        // Of two with one time, either will do.
        const right = (busy.length > 0 ? busy : all).filter(([, , seconds]) => seconds === most)
        t.true(
          right.some(
            ([running, waiting]) => JSON.stringify(found) === JSON.stringify({ max: 8, running, waiting }),
          ),
          page,
        )
      },
    ),
    { numRuns: 300 },
  )
})
