/** Child processes that never outlive this one, with their output in a file. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { indent } from './harness.js'

const running = new Set<Child>()

/**
 * Runs a command beside a guard that waits for the end of standard input and then kills the whole process group. The
 * other end of that pipe is held by this process alone, so the guard acts however this process ends, SIGKILL included;
 * being in the group itself, it can never hit a stranger that was given the same id later. It outlives SIGTERM, which
 * goes to the group: an engine that ignores it is still guarded.
 */
const GUARDED = `
exec 3<&0 </dev/null
(trap '' TERM; cat <&3 >/dev/null; kill -KILL 0) &
exec 3<&-
exec "$@"`

export class Child {
  readonly #process: ChildProcess
  #ended: string | undefined
  readonly #exit: Promise<void>

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    readonly logFile: string,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    const log = openSync(logFile, 'w')
    // A process group of its own: engines have children, and a signal must reach all of them.
    this.#process = spawn('sh', ['-c', GUARDED, 'sh', command, ...args], {
      stdio: ['pipe', log, log],
      env,
      detached: true,
    })
    // A child that ends breaks the pipe; its end is reported as such.
    this.#process.stdin?.on('error', () => undefined)
    closeSync(log)
    running.add(this)
    this.#exit = new Promise(resolve => {
      const ended = (how: string): void => {
        this.#ended ??= how
        resolve()
      }
      this.#process.once('error', error => ended(error.message))
      this.#process.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`))
    })
  }

  /** How it ended; undefined while it runs. */
  get ended(): string | undefined {
    return this.#ended
  }

  /** The end of its output, for messages. */
  tail(lines: number): string {
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  }

  /** What there is to know of it when something failed. */
  evidence(lines = 15): string {
    return `${this.name}, ${this.#ended ?? 'running'}; the end of ${this.logFile}:\n${indent(this.tail(lines))}`
  }

  /** Asks it to end, and ends it if it does not. */
  async stop(graceMs = 5_000): Promise<void> {
    this.#signal('SIGTERM')
    const timer = setTimeout(() => this.#signal('SIGKILL'), graceMs)
    await this.#exit
    clearTimeout(timer)
    // What its leader left behind.
    this.killNow()
  }

  /** Ends the whole group at once, as a crash would. */
  async kill(): Promise<void> {
    this.#signal('SIGKILL')
    await this.#exit
    running.delete(this)
  }

  /** Stops the process itself, not its children and not its guard, until `thaw`; connections to it stay open. */
  freeze(): void {
    this.#process.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process.kill('SIGCONT')
  }

  killNow(): void {
    this.#signal('SIGKILL')
    running.delete(this)
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#process
    if (pid === undefined) return
    try {
      process.kill(-pid, signal)
    } catch {
      // Nobody is left in the group.
    }
  }
}

/**
 * Ends the children at the end of this process, rather than a moment later by their guards, and has the signals that
 * end it go that way too.
 */
export function killChildrenAtExit(): void {
  process.on('exit', () => {
    for (const child of running) child.killNow()
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]))
  }
}
