/** What came of many measured requests. */
import assert from 'node:assert/strict'
import type { Measured } from './measure.js'

/** Lines about requests that differ; more say nothing more. */
const SHOWN = 12

export class Tally {
  readonly #all: Measured[] = []

  add(measured: Measured): void {
    this.#all.push(measured)
  }

  append(other: Tally): void {
    this.#all.push(...other.#all)
  }

  /** Those of one pod. */
  of(pod: string): Tally {
    const tally = new Tally()
    tally.#all.push(...this.#all.filter(measured => measured.pod === pod))
    return tally
  }

  get requests(): number {
    return this.#all.length
  }

  /** Part of the requests whose cached tokens were as expected, of a pod that was known exactly. */
  get share(): number {
    return this.#all.filter(agrees).length / Math.max(this.requests, 1)
  }

  /** Requests whose cached tokens were as expected, however that was known. */
  get right(): number {
    return this.#all.filter(({ predicted, cached }) => predicted === cached).length
  }

  get cachedTokens(): number {
    return sum(this.#all, ({ cached }) => cached)
  }

  get promptTokens(): number {
    return sum(this.#all, ({ prompt }) => prompt)
  }

  get pods(): readonly string[] {
    return [...new Set(this.#all.map(({ pod }) => pod))].sort()
  }

  /** Every prompt must be counted as the engine counts it, and not by estimate. */
  requireCounts(): void {
    const off = this.#all.filter(
      ({ counted, countedExactly, prompt }) => !countedExactly || counted !== prompt,
    )
    const lines = off
      .slice(0, SHOWN)
      .map(({ pod, counted, countedExactly, prompt }) =>
        countedExactly
          ? `${pod}: counted ${counted} of ${prompt} tokens`
          : `${pod}: estimated ${prompt} tokens`,
      )
    const total = `${off.length} of ${this.requests} prompts are counted differently`
    assert.equal(off.length, 0, [total, ...lines].join('\n'))
  }

  /** At least this part must find as much cached as was expected. */
  requireShare(least: number): void {
    assert.ok(this.share >= least, `${this}\n${this.differences()}`)
  }

  toString(): string {
    const agreeing = this.#all.filter(agrees)
    const alone = this.#all.filter(measured => this.#isAlone(measured))
    const share = ((100 * this.cachedTokens) / Math.max(this.promptTokens, 1)).toFixed(1)
    const apart =
      alone.length === this.requests
        ? ''
        : `; of those that had their pod to themselves ${alone.filter(agrees).length} of ${alone.length}`
    return (
      `${agreeing.length} of ${this.requests} as predicted (${(100 * this.share).toFixed(1)} %)${apart}; ` +
      `${share} % of ${this.promptTokens} prompt tokens cached`
    )
  }

  /** The requests that were not as predicted. */
  differences(): string {
    const off = this.#all.filter(measured => !agrees(measured))
    const lines = off
      .slice(0, SHOWN)
      .map(
        ({ pod, mode, predicted, cached, prompt }) =>
          `${pod} (${mode}): predicted ${predicted}, cached ${cached} of ${prompt} tokens`,
      )
    return lines.join('\n')
  }

  /**
   * No other was under way on its pod from the prediction to the answer. Otherwise that one may have evicted what was
   * predicted, or computed what was not, before the engine came to look.
   */
  #isAlone({ pod, from, to }: Measured): boolean {
    return this.#all.filter(other => other.pod === pod && other.from < to && from < other.to).length === 1
  }
}

const agrees = ({ mode, predicted, cached }: Measured): boolean => mode === 'exact' && predicted === cached

const sum = (all: readonly Measured[], value: (measured: Measured) => number): number =>
  all.reduce((total, measured) => total + value(measured), 0)
