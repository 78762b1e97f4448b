/**
 * The one place that writes the decision log: the main thread's. Batches are written one after the other; what the disk
 * refuses is counted and gone, since holding it would fill the memory, and said once until it works again.
 */
import { type Logger, saidOnce } from '../log.js'
import type { DecisionCounts, LineBatch } from './channel.js'
import { RotatingFile, type RotatingFileOptions } from './rotating-file.js'

export class DecisionWriter {
  readonly #file: RotatingFile
  readonly #once = saidOnce()
  #isFailing = false
  #last: Promise<void> = Promise.resolve()

  constructor(
    private readonly options: RotatingFileOptions,
    private readonly counts: DecisionCounts,
    private readonly log: Pick<Logger, 'warn' | 'info'>,
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
      if (this.#isFailing) this.log.info(`the decision log is written to ${this.options.path} again`)
      this.#isFailing = false
    } catch (error) {
      this.counts.lost(lines, bytes)
      this.#isFailing = true
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
      const reason = error instanceof Error ? error.message : String(error)
      if (this.#once(code)) {
        this.log.warn(
          `the decision log cannot be written to ${this.options.path} (${reason}); requests are served all the same, the lines are lost and counted in phyllo_decision_log_dropped_total`,
        )
      }
    }
  }
}
