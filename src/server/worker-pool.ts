/**
 * The main thread's side of the workers: births, broadcasts with acknowledgements, drain.
 */
import { Worker } from 'node:worker_threads'
import type { LineBatch } from '../telemetry/decision-log/channel.js'
import type { FleetUpdate, FromWorker, ToWorker, WorkerBirth } from './protocol.js'

export interface WorkerPoolEvents {
  /** A worker ended without being asked to. */
  onExit(row: number, error: Error): void
  /** Lines for the decision log. */
  onDecisions(batch: LineBatch): void
  /** A hand-off has failed that may have been that pod's (its id). */
  onDoubt(pod: string): void
}

interface Member {
  readonly worker: Worker
  readonly row: number
  acked: number
  exited: boolean
}

interface Waiter {
  readonly version: number
  readonly resolve: () => void
}

export class WorkerPool {
  readonly #members: Member[] = []
  #waiters: Waiter[] = []
  #latest: FleetUpdate | undefined
  #closing = false

  constructor(private readonly events: WorkerPoolEvents) {}

  /** Starts a worker; resolves with its port once it listens. */
  start(birth: WorkerBirth): Promise<number> {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: birth })
    const member: Member = { worker, row: birth.row, acked: birth.fleet.version, exited: false }
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'listening') {
          this.#join(member)
          resolve(message.port)
        } else if (message.type === 'failed') reject(new Error(message.message))
        else this.#receive(member, message)
      })
      let cause: Error | undefined
      worker.on('error', error => {
        cause = error instanceof Error ? error : new Error(String(error))
      })
      // Follows every error; before `listening`, it is the birth that failed.
      worker.on('exit', code => {
        const error = cause ?? new Error(`worker ${birth.row} exited with code ${code}`)
        reject(error)
        this.#left(member, error)
      })
    })
  }

  /** Sends a fleet version to all workers; resolves when every one has taken it. */
  broadcast(update: FleetUpdate): Promise<void> {
    this.#latest = update
    for (const member of this.#members) this.#send(member, { type: 'fleet', update })
    return new Promise(resolve => {
      this.#waiters.push({ version: update.version, resolve })
      this.#settle()
    })
  }

  /** Asks all to stop accepting and finish; resolves with the number of requests cut off at the deadline. */
  async drain(deadlineMs: number): Promise<number> {
    this.#closing = true
    const cuts = this.#members.map(
      member =>
        new Promise<number>(resolve => {
          member.worker.on('message', (message: FromWorker) => {
            if (message.type === 'drained') resolve(message.cut)
          })
          member.worker.once('exit', () => resolve(0))
          this.#send(member, { type: 'drain', deadlineMs })
        }),
    )
    const cut = (await Promise.all(cuts)).reduce((sum, n) => sum + n, 0)
    await Promise.all(this.#members.map(member => exited(member)))
    return cut
  }

  #join(member: Member): void {
    this.#members.push(member)
    // A version that was broadcast while this worker was being born.
    if (this.#latest !== undefined && this.#latest.version > member.acked) {
      this.#send(member, { type: 'fleet', update: this.#latest })
    }
  }

  #left(member: Member, error: Error): void {
    member.exited = true
    const at = this.#members.indexOf(member)
    if (at >= 0 && !this.#closing) {
      this.#members.splice(at, 1)
      this.events.onExit(member.row, error)
    }
    this.#settle()
  }

  #receive(member: Member, message: FromWorker): void {
    if (message.type === 'decisions') this.events.onDecisions(message.batch)
    if (message.type === 'doubt') this.events.onDoubt(message.pod)
    if (message.type !== 'ack') return
    member.acked = Math.max(member.acked, message.version)
    this.#settle()
  }

  /** Resolves the broadcasts that every living worker has acknowledged. */
  #settle(): void {
    const taken = Math.min(
      ...this.#members.filter(m => !m.exited).map(m => m.acked),
      Number.POSITIVE_INFINITY,
    )
    const done = this.#waiters.filter(waiter => waiter.version <= taken)
    this.#waiters = this.#waiters.filter(waiter => waiter.version > taken)
    for (const waiter of done) waiter.resolve()
  }

  #send(member: Member, message: ToWorker): void {
    member.worker.postMessage(message)
  }
}

function exited(member: Member): Promise<void> {
  if (member.exited) return Promise.resolve()
  return new Promise(resolve => member.worker.once('exit', () => resolve()))
}
