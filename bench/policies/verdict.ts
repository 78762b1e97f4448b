/** How the recommended profile does beside the others: cell by cell, on mean time to the first token. */
import type { Outcome } from './cells.js'

export interface Cell {
  readonly name: string
  /** By profile. */
  readonly outcomes: ReadonlyMap<string, Outcome>
}

export interface Verdict {
  readonly cells: number
  /** Cells in which no other is better. */
  readonly best: number
  /** The greatest ratio to the best of a cell, and where it is. */
  readonly worst: { readonly ratio: number; readonly cell: string; readonly behind: string }
  /** Each cell in which another is better, as text. */
  readonly behind: readonly string[]
}

/** Equal within the fourth digit, in which a microsecond of a simulated step shows. */
const SAME = 1.0001

export function judge(cells: readonly Cell[], profile: string): Verdict {
  let worst = { ratio: 1, cell: '', behind: '' }
  const behind: string[] = []
  for (const { name, outcomes } of cells) {
    const own = outcomes.get(profile)?.ttftMeanMs ?? Number.NaN
    const [best, least] = [...outcomes].reduce<[string, number]>(
      (found, [other, { ttftMeanMs }]) => (ttftMeanMs < found[1] ? [other, ttftMeanMs] : found),
      ['', Number.POSITIVE_INFINITY],
    )
    const ratio = own / least
    if (ratio > SAME) behind.push(`${name}: ${ratio.toFixed(3)} of ${best}`)
    if (ratio > worst.ratio) worst = { ratio, cell: name, behind: best }
  }
  return { cells: cells.length, best: cells.length - behind.length, worst, behind }
}
