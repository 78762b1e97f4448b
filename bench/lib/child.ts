/** Processes that a bench starts: none outlives it, and one that fails says why. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { rootDir } from './results.js'

const alive = new Set<ChildProcess>()

process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})
// The default action of a signal skips 'exit'.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

/** Ties a child's life to the bench's. */
export function tie<T extends ChildProcess>(child: T): T {
  alive.add(child)
  child.once('exit', () => alive.delete(child))
  return child
}

/** A server under test, with its output in a file. */
export class Server {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #logFile: string
  #ended: string | undefined

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
  ) {
    mkdirSync(`${rootDir}.cache/bench`, { recursive: true })
    this.#logFile = `${rootDir}.cache/bench/${name.replaceAll(/\W+/g, '-')}.log`
    const log = openSync(this.#logFile, 'w')
    this.#child = tie(spawn(command, [...args], { stdio: ['ignore', log, log] }))
    closeSync(log)
    this.#child.once('error', error => {
      this.#ended = error.message
    })
    this.#child.once('exit', (code, signal) => {
      this.#ended = signal ?? `exit code ${code}`
    })
    this.pid = this.#child.pid ?? -1
  }

  /** Waits until the probe is true; throws if the process ends first, or after a minute. */
  async ready(probe: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!(await probe().catch(() => false))) {
      if (this.#ended !== undefined) throw new Error(`${this.name} ended (${this.#ended}): ${this.#tail()}`)
      if (performance.now() > deadline)
        throw new Error(`${this.name} is not ready after 60 s: ${this.#tail()}`)
      await pause(100)
    }
  }

  async stop(): Promise<void> {
    if (this.#ended !== undefined) return
    const gone = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3_000)
    await gone
    clearTimeout(timer)
  }

  #tail(): string {
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-8).join('\n')
  }
}

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
