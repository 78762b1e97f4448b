/**
 * KV events end to end: from a publisher's socket to the index, beside a thread that queries it. What the sockets take
 * and what the native side takes are measured apart as well, in the same run, in turn.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { tie } from '../lib/child.js'
import { printTable, type Row, summarise, updateReadme, writeResults } from '../lib/results.js'
import { messagesOf, type Pass, type Shape } from './messages.js'
import type { PublisherOrder, PublisherReport } from './publisher.js'
import type { QueryTimes } from './queries.js'
import type { Part, SubjectOrder, SubjectReport } from './subject.js'

const ROUNDS = 5
const PASSES: readonly Pass[] = ['store', 'remove']
const PARTS: readonly Part[] = ['whole', 'sockets', 'zeromq', 'feed']
const NAMES: Readonly<Record<Part, string>> = {
  whole: 'phyllo',
  sockets: 'phyllo, sockets alone',
  zeromq: 'zeromq.js alone',
  feed: 'phyllo, native side alone',
}

/** Blocks in an engine's cache: what an 80 GB GPU holds of an 8B model. */
const ENGINE = 32_768

/** A full engine, which evicts a block for each that it stores; and caches as large as those of a fleet together. */
const SHAPES: readonly Shape[] = [
  { blocks: 64, messages: 16_384, capacity: ENGINE },
  { blocks: 1, messages: 262_144, capacity: ENGINE },
  { blocks: 64, messages: 16_384, capacity: 16_384 * 64 },
  { blocks: 1, messages: 262_144, capacity: 262_144 },
]

/** A child that answers orders, one at a time. */
class Child<Order extends object, Report> {
  readonly #child: ChildProcess

  constructor(file: string) {
    this.#child = tie(fork(new URL(file, import.meta.url)))
    this.#child.once('exit', code => {
      if (code !== null && code !== 0) throw new Error(`${file} ended with code ${code}`)
    })
  }

  async ask(order: Order): Promise<Report> {
    const answer = once(this.#child, 'message')
    this.#child.send(order)
    const [report]: Report[] = await answer
    if (report === undefined) throw new Error('an answer of nothing')
    return report
  }

  kill(): void {
    this.#child.removeAllListeners('exit').kill()
  }
}

/** One part of the router, with its connection to the publisher. */
class Subject {
  readonly #child = new Child<SubjectOrder, SubjectReport | true>('./subject.js')

  constructor(
    readonly part: Part,
    private readonly shape: Shape,
    private readonly publisher: Child<PublisherOrder, PublisherReport>,
    /** The publisher knows its readers by the order in which they came. */
    private readonly reader: number,
  ) {}

  async begin(port: number): Promise<void> {
    await this.#child.ask({ type: 'begin', part: this.part, port, shape: this.shape })
  }

  async pass(pass: Pass, isQueried: boolean): Promise<SubjectReport> {
    await this.#child.ask({ type: 'expect', pass, isQueried })
    if (this.part !== 'feed') await this.publisher.ask({ type: 'send', pass, reader: this.reader })
    const report = await this.#child.ask({ type: 'report' })
    if (report === true) throw new Error('no report')
    return report
  }

  /** What queries take while no events come. */
  async query(): Promise<SubjectReport> {
    const report = await this.#child.ask({ type: 'query' })
    if (report === true) throw new Error('no report')
    return report
  }

  kill(): void {
    this.#child.kill()
  }
}

class Samples {
  readonly #all = new Map<
    string,
    { readonly row: Omit<Row, 'min' | 'med' | 'max' | 'n'>; samples: number[] }
  >()

  add(name: string, subject: string, metric: string, unit: string, sample: number): void {
    const key = [name, subject, metric].join('\n')
    const entry = this.#all.get(key) ?? { row: { case: name, subject, metric, unit }, samples: [] }
    entry.samples.push(sample)
    this.#all.set(key, entry)
  }

  rows(): Row[] {
    return [...this.#all.values()].map(({ row, samples }) => ({ ...row, ...summarise(samples) }))
  }
}

function caseOf({ blocks, messages, capacity }: Shape, pass: Pass): string {
  const isFull = capacity < blocks * messages
  const what = pass === 'remove' ? 'removed' : isFull ? 'stored, as many evicted' : 'stored'
  const size = isFull ? `${ENGINE} blocks held` : 'all held'
  return `${blocks} block${blocks === 1 ? '' : 's'} a message, ${what} (${size})`
}

async function measure(shape: Shape, rounds: number, samples: Samples): Promise<void> {
  const publisher = new Child<PublisherOrder, PublisherReport>('./publisher.js')
  const port = await publisher.ask({ type: 'prepare', shape })
  const subjects: Subject[] = []
  for (const [reader, part] of PARTS.entries()) {
    const subject = new Subject(part, shape, publisher, reader)
    await subject.begin(port)
    subjects.push(subject)
  }
  // The first round warms up: code is compiled, memory is there.
  for (let round = 0; round <= rounds; round++) {
    for (const subject of subjects) {
      for (const pass of PASSES)
        note(round === 0 ? undefined : samples, subject, shape, pass, await subject.pass(pass, false))
    }
    for (const subject of subjects) await queried(round === 0 ? undefined : samples, subject, shape)
  }
  for (const subject of subjects) subject.kill()
  publisher.kill()
}

/**
 * Queries beside the whole, and beside the native side alone (two threads then, as many as small machines have cores);
 * and after the stores, while nothing comes.
 */
async function queried(samples: Samples | undefined, subject: Subject, shape: Shape): Promise<void> {
  if (subject.part !== 'whole' && subject.part !== 'feed') return
  const of = NAMES[subject.part]
  for (const pass of PASSES) {
    const { queries } = await subject.pass(pass, true)
    if (messagesOf(shape, pass) === shape.messages)
      noteQueries(samples, shape, pass, of, 'meanwhile', queries)
    if (pass === 'remove' || subject.part === 'whole') continue
    const { queries: alone } = await subject.query()
    noteQueries(samples, shape, pass, of, 'without events', alone)
  }
}

function noteQueries(
  samples: Samples | undefined,
  shape: Shape,
  pass: Pass,
  of: string,
  when: string,
  times: QueryTimes | undefined,
): void {
  if (times === undefined) return
  const add = (metric: string, value: number) =>
    samples?.add(caseOf(shape, pass), of, `query ${when}, ${metric}`, 'µs', value)
  add('median', times.median)
  add('p99', times.p99)
  add("p99 but for each burst's first", times.warmP99)
}

function note(
  samples: Samples | undefined,
  subject: Subject,
  shape: Shape,
  pass: Pass,
  report: SubjectReport,
): void {
  const { blocks } = shape
  const messages = messagesOf(shape, pass)
  // What is left of a full engine takes some milliseconds: too little to be timed.
  if (messages < shape.messages) return
  const name = caseOf(shape, pass)
  const of = NAMES[subject.part]
  samples?.add(name, of, 'CPU a message', 'µs', (report.cpuMs * 1000) / messages)
  if (subject.part === 'sockets' || subject.part === 'zeromq') return
  samples?.add(name, of, 'CPU a block', 'ns', (report.cpuMs * 1e6) / (messages * blocks))
  if (subject.part === 'feed') return
  samples?.add(name, of, 'messages', '1000/s', messages / report.wallMs)
  samples?.add(name, of, 'blocks', 'million/s', (messages * blocks) / report.wallMs / 1000)
}

export async function benchEvents({ quick }: { quick: boolean }): Promise<void> {
  const samples = new Samples()
  for (const shape of SHAPES) await measure(shape, quick ? 1 : ROUNDS, samples)
  const rows = samples.rows()
  printTable(rows)
  if (!quick) updateReadme('events', writeResults('events', ['npm run bench:events'], rows))
}
