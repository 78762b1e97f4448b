/** Time, chance and engines of the scraper tests' own: nothing here waits for a clock. */
import { isPodRef, MAX_SLOTS } from '#phyllo/data/native.js'
import type { Pod } from '#phyllo/data/pod-registry.js'
import { DEFAULT_TRANSFER } from '#phyllo/data/pod-role.js'
import type { PageSink, PageSource, ScrapeFault } from '#phyllo/data/scrape/connection.js'
import type { ScrapeWorld } from '#phyllo/data/scrape/scraper.js'
import { seeded } from '../../decision/helpers.js'

/** What an engine says to a request: a page, a fault, or nothing at all. */
export type Reply = string | ScrapeFault | undefined

/** An engine as the scraper meets it. */
export class FakeEngine {
  /** Times of the requests, and their paths. */
  readonly asked: { readonly at: number; readonly path: string }[] = []
  /** Requests under way at the same time, at most. */
  most = 0
  destroyed = 0
  latencyMs = 5
  reply: (path: string) => Reply = () => undefined
}

interface Alarm {
  readonly at: number
  readonly callback: () => void
}

export class FakeWorld implements ScrapeWorld {
  readonly engines = new Map<string, FakeEngine>()
  readonly random: () => number
  #now = 0
  #alarms: Alarm[] = []

  constructor(seed = 1) {
    this.random = seeded(seed)
  }

  now(): number {
    return this.#now
  }

  get waiting(): number {
    return this.#alarms.length
  }

  after(ms: number, callback: () => void): () => void {
    const alarm = { at: this.#now + ms, callback }
    this.#alarms.push(alarm)
    return () => {
      this.#alarms = this.#alarms.filter(each => each !== alarm)
    }
  }

  /** Lets time pass, with all that falls due in it. */
  pass(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = this.#alarms.reduce<Alarm | undefined>(
        (first, each) => (first === undefined || each.at < first.at ? each : first),
        undefined,
      )
      if (next === undefined || next.at > end) break
      this.#alarms = this.#alarms.filter(each => each !== next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
    }
    this.#now = end
  }

  /** Time passes without anybody noticing: the event loop was held up. */
  stall(ms: number): void {
    this.#now += ms
  }

  engine(origin: string): FakeEngine {
    const known = this.engines.get(origin)
    if (known !== undefined) return known
    const engine = new FakeEngine()
    this.engines.set(origin, engine)
    return engine
  }

  connect(origin: string, sink: PageSink): PageSource {
    const engine = this.engine(origin)
    let under = 0
    let generation = 0
    return {
      get: path => {
        engine.asked.push({ at: this.#now, path })
        engine.most = Math.max(engine.most, ++under)
        const reply = engine.reply(path)
        if (reply === undefined) return
        const mine = generation
        this.after(engine.latencyMs, () => {
          if (mine !== generation) return
          under--
          if (typeof reply === 'string') {
            const bytes = Buffer.from(reply)
            sink.onBody(bytes, 0, bytes.length)
            sink.onEnd()
          } else {
            sink.onClosed()
            sink.onFault(reply)
          }
        })
      },
      destroy: () => {
        engine.destroyed++
        generation++
        under = 0
        sink.onClosed()
      },
    }
  }
}

export function podAt(slot: number, origin = `http://pod-${slot}:8000`, rank?: number): Pod {
  const ref = MAX_SLOTS + slot
  if (!isPodRef(ref)) throw new Error('a slot is not negative')
  const id = rank === undefined ? `pod-${slot}` : `pod-${slot}-dp${rank}`
  return {
    ref,
    id,
    name: id,
    rank,
    url: origin,
    origin,
    basePath: '',
    labels: {},
    role: 'mixed',
    kvTransfer: DEFAULT_TRANSFER,
    maxInflight: 0,
    kvEvents: undefined,
    variant: undefined,
    fixedModels: true,
    models: [],
    cordoned: false,
    healthy: true,
    reason: undefined,
  }
}

/** A page as vLLM's, of so many ranks. */
export function vllmPage({
  running = 0,
  waiting = 0,
  kvUse = 0,
  blockSize = 16,
  blocks = 100,
  ranks = 1,
} = {}): string {
  return Array.from(
    { length: ranks },
    (_, rank) => `vllm:num_requests_running{engine="${rank}"} ${running + rank}
vllm:num_requests_waiting{engine="${rank}"} ${waiting}
vllm:kv_cache_usage_perc{engine="${rank}"} ${kvUse}
vllm:cache_config_info{block_size="${blockSize}",engine="${rank}",num_gpu_blocks="${blocks * ranks}"} 1
`,
  )
    .join('')
    .split('\n')
    .sort()
    .join('\n')
}
