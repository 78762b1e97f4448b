/**
 * What it costs to keep up with the engines' metrics: CPU time of the scraper's whole process, with 256 pods at one look
 * a second. The engines are another process, and their time is not counted.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { tie } from '../lib/child.js'
import { printTable, type Row, summarise, updateReadme, writeResults } from '../lib/results.js'
import type { EnginesOrder } from './engines.js'
import type { ScrapeOrder, ScrapeReport } from './scraper.js'

const PODS = 256
const ROUNDS = 5
const INTERVAL_MS = 1_000
const MS = 5_000
/** At ten times the rate: a router runs for days, and V8 takes some ten thousand looks to know what is hot. */
const WARM_UP_INTERVAL_MS = 100
const CLIENTS = ['own', 'undici'] as const

const cases: readonly (EnginesOrder & { readonly name: string })[] = [
  { name: 'vLLM, whole page (61.8 KB)', page: 'vllm-0.32.0-nixl', byName: false },
  { name: 'vLLM, lines asked for by name', page: 'vllm-0.32.0-nixl', byName: true },
  { name: 'SGLang, whole page (83.9 KB)', page: 'sglang-0.5.23', byName: false },
]

/** A process that answers orders. */
class Worker<Order extends object, Report> {
  readonly #child: ChildProcess
  readonly #ended: Promise<never>

  constructor(name: string) {
    this.#child = tie(fork(fileURLToPath(new URL(`./${name}.js`, import.meta.url))))
    this.#ended = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`a process of the bench ended with code ${String(code)}`)
    })
    this.#ended.catch(() => undefined)
  }

  async run(order: Order): Promise<Report> {
    const report = new Promise<Report>(resolve => {
      this.#child.once('message', (message: Report) => resolve(message))
    })
    this.#child.send(order)
    return Promise.race([report, this.#ended])
  }

  stop(): void {
    this.#child.disconnect()
  }
}

export async function benchScrape({ quick }: { readonly quick: boolean }): Promise<void> {
  const engines = new Worker<EnginesOrder, number>('engines')
  const scrapers = CLIENTS.map(client => ({
    client,
    subject: client === 'own' ? 'phyllo' : 'phyllo with undici',
    worker: new Worker<ScrapeOrder, ScrapeReport>('scraper'),
    micros: new Map<string, number[]>(cases.map(({ name }) => [name, []])),
  }))
  const rounds = quick ? 1 : ROUNDS
  for (let round = 0; round <= rounds; round++) {
    for (const { name, page, byName } of cases) {
      const port = await engines.run({ page, byName })
      for (const { client, subject, worker, micros } of round % 2 === 0 ? scrapers : scrapers.toReversed()) {
        const intervalMs = round === 0 ? WARM_UP_INTERVAL_MS : INTERVAL_MS
        const order = { port, pods: PODS, client, intervalMs, ms: quick ? MS / 2 : MS }
        const { scrapes, cpuMicros } = await worker.run(order)
        const each = cpuMicros / scrapes
        console.log(
          `${round === 0 ? 'warm-up' : `round ${round}`}: ${name}: ${subject}: ${each.toFixed(1)} µs (${scrapes} looks)`,
        )
        if (round > 0) micros.get(name)?.push(each)
      }
    }
  }
  for (const { worker } of scrapers) worker.stop()
  engines.stop()
  report(scrapers, quick)
}

interface Measured {
  readonly subject: string
  readonly micros: ReadonlyMap<string, readonly number[]>
}

function report(subjects: readonly Measured[], quick: boolean): void {
  const rows: Row[] = cases.flatMap(({ name }) =>
    subjects.flatMap(({ subject, micros }): Row[] => {
      const samples = micros.get(name) ?? []
      // µs × looks a second, of a million.
      const shares = samples.map(each => (each * PODS) / 10_000)
      return [
        { case: name, subject, metric: 'CPU per look', unit: 'µs', ...summarise(samples) },
        { case: name, subject, metric: `${PODS} pods, 1/s`, unit: '% of a core', ...summarise(shares) },
      ]
    }),
  )
  printTable(rows)
  if (!quick) updateReadme('scrape', writeResults('scrape', ['npm run bench -- scrape'], rows))
}
