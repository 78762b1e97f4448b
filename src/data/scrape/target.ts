/**
 * One metrics page and the pods that it tells of: all data-parallel ranks of an engine share a page, so it is read once
 * for all of them. What was learnt of the page (the engine, where its Prometheus page is, which lines it has) holds as
 * long as the connection does: behind a new one there may be another process.
 */
import type { Pod } from '../pod-registry.js'
import type { PageSink, PageSource, ScrapeFault } from './connection.js'
import { ALL_NEEDLES, type Needle } from './needles.js'
import { type Page, PageReader } from './page.js'

/** Where trtllm-serve has its Prometheus page; its /metrics are statistics in JSON. */
const OTHER_PATH = '/prometheus/metrics'

/** What became of a look. */
export type Outcome =
  | { readonly page: Page }
  | { readonly fault: ScrapeFault }
  /** Nothing is known yet, but the next request may tell: it is due at once. */
  | 'again'

export class Target implements PageSink {
  readonly pods = new Set<Pod>()
  /** When the next look is due, or the present one is given up. */
  dueAt = 0
  startedAt = 0
  busy = false
  /** Looks in a row that failed. */
  failures = 0
  saturated = false

  readonly #reader = new PageReader()
  readonly #source: PageSource
  readonly #paths: readonly string[]
  #path = 0
  #needles = ALL_NEEDLES
  #byName = false
  /** The same for the look under way, whose connection may be closed before it is over. */
  #asked: { readonly needles: readonly Needle[]; readonly byName: boolean } = { needles: [], byName: false }
  /** Asking by name did not work here: not tried again. */
  #refusesNames = false

  constructor(
    origin: string,
    private readonly basePath: string,
    path: string,
    connect: (origin: string, sink: PageSink) => PageSource,
    private readonly onOutcome: (target: Target, outcome: Outcome) => void,
  ) {
    this.#paths = path === OTHER_PATH ? [path] : [path, OTHER_PATH]
    this.#source = connect(origin, this)
  }

  look(): void {
    this.busy = true
    this.#asked = { needles: this.#needles, byName: this.#byName }
    this.#reader.begin(this.#needles)
    const path = this.basePath + (this.#paths[this.#path] ?? '')
    this.#source.get(this.#byName ? path + namesQuery(this.#needles) : path)
  }

  giveUp(ms: number): void {
    this.#source.destroy()
    this.#failed({ kind: 'connection', reason: `does not answer within ${ms} ms` })
  }

  destroy(): void {
    this.busy = false
    this.#source.destroy()
  }

  onBody(bytes: Buffer, from: number, to: number): void {
    this.#reader.push(bytes, from, to)
  }

  onEnd(): void {
    const page = this.#reader.finish()
    // Less than the last time: looked at for what it is, before it is believed.
    const { needles, byName } = this.#asked
    if (needles !== ALL_NEEDLES && (page?.needles.length ?? 0) < needles.length) return this.#anew()
    if (page === undefined) return this.#failed({ kind: 'page', reason: 'has no metrics of a known engine' })
    this.#byName = page.dialect.byName && !this.#refusesNames
    // The same array as long as the page is the same: the reader then knows where on it they stand.
    if (this.#needles === ALL_NEEDLES || this.#byName !== byName) this.#needles = page.needles
    this.#over({ page })
  }

  onFault(fault: ScrapeFault): void {
    this.#failed(fault)
  }

  onClosed(): void {
    this.#forgetPage()
  }

  #failed(fault: ScrapeFault): void {
    if (this.#asked.byName && fault.kind === 'page') return this.#anew()
    // The other path is worth a try only where there is somebody to answer.
    if (fault.kind === 'page') this.#path = (this.#path + 1) % this.#paths.length
    this.#forgetPage()
    this.#over({ fault })
  }

  /** From the whole page; whoever gave less when asked by name is not asked so again. */
  #anew(): void {
    this.#refusesNames ||= this.#asked.byName
    this.#forgetPage()
    this.#over('again')
  }

  #forgetPage(): void {
    this.#needles = ALL_NEEDLES
    this.#byName = false
  }

  #over(outcome: Outcome): void {
    this.busy = false
    this.onOutcome(this, outcome)
  }
}

/** For prometheus_client; vLLM's own route of the page does not know names, but what is mounted below it does. */
const namesQuery = (needles: readonly Needle[]): string =>
  `/?${needles.map(({ metric }) => `name%5B%5D=${encodeURIComponent(metric)}`).join('&')}`
