/**
 * The one place that writes the decision log: the main thread's. Batches are written one after the other; what the disk
 * refuses is counted and gone, since holding it would fill the memory, and said once until it works again. A disk that is
 * nearly full takes a short batch between two that it refuses: what fails again within a minute is said after that minute.
 */
import type { Logger } from '../log.js'
import type { DecisionCounts, LineBatch } from './channel.js'
import { RotatingFile, type RotatingFileOptions } from './rotating-file.js'

/** Least milliseconds between two warnings: some lines an hour, and no dashboard waits longer. */
const QUIET_MS = 60_000

export class DecisionWriter {
  readonly #file: RotatingFile
  /** The fault that was told and has not gone since; undefined: none. */
  #told: string | undefined
  #toldAt = Number.NEGATIVE_INFINITY
  #last: Promise<void> = Promise.resolve()

  constructor(
    private readonly options: RotatingFileOptions,
    private readonly counts: DecisionCounts,
    private readonly log: Pick<Logger, 'warn' | 'info'>,
    /** Monotonic milliseconds. */
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#file = new RotatingFile(options)
  }

  /** Takes a batch whose room was taken by `admit`; gives the room back when it is written or lost. Never throws. */
  write(batch: LineBatch): void {
    this.#last = this.#last.then(() => this.#write(batch))
  }

  /** Resolves when all that was taken is written or lost, and the file is closed. */
  async close(): Promise<void> {
    await this.#last
    await this.#file.close()
  }

  async #write({ text, lines, bytes }: LineBatch): Promise<void> {
    try {
      await this.#file.append(text)
      this.counts.wrote(lines, bytes)
      if (this.#told !== undefined) this.log.info(`the decision log is written to ${this.options.path} again`)
      this.#told = undefined
    } catch (error) {
      this.counts.lost(lines, bytes)
      this.#warn(error)
    }
  }

  #warn(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    if (code === this.#told || this.now() - this.#toldAt < QUIET_MS) return
    this.#told = code
    this.#toldAt = this.now()
    const reason = error instanceof Error ? error.message : String(error)
    this.log.warn(
      `the decision log cannot be written to ${this.options.path} (${reason}); requests are served all the same, the lines are lost and counted in phyllo_decision_log_dropped_total`,
    )
  }
}
