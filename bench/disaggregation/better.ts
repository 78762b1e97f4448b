/**
 * The better of two fleets in a cell, and how far another is from it: the one with the greater goodput, where that
 * differs by less than a hundredth the one with the lower TPOT p99. Both figures of that one fleet are what others are
 * held to: the best of each figure, wherever it is from, would be a fleet that nobody has. Figures are medians of seeds.
 */
import { type Row, summarise } from '../lib/results.js'
import type { Measured } from './cell.js'

/** Within this part two goodputs are the same. */
const SAME = 0.01
/** What a subject may lose against the better fleet. */
export const ALLOWED = 0.05

export interface Figures {
  readonly goodput: number
  readonly tpotP99: number
}

export function figuresOf(runs: readonly Measured[]): Figures {
  return {
    goodput: summarise(runs.map(({ goodput }) => goodput)).med,
    tpotP99: summarise(runs.map(({ tpotP99 }) => tpotP99)).med,
  }
}

export function betterOf(a: Figures, b: Figures): Figures {
  const isSame = Math.abs(a.goodput - b.goodput) < SAME * Math.max(a.goodput, b.goodput)
  if (isSame) return a.tpotP99 <= b.tpotP99 ? a : b
  return a.goodput > b.goodput ? a : b
}

/** Percent by which a subject's figures are above those of the better fleet. */
export function against(subject: Figures, better: Figures): Figures {
  const percent = (value: number, of: number): number => 100 * (value / of - 1)
  return {
    goodput: percent(subject.goodput, better.goodput),
    tpotP99: percent(subject.tpotP99, better.tpotP99),
  }
}

export const isWithin = ({ goodput, tpotP99 }: Figures): boolean =>
  goodput >= -100 * ALLOWED && tpotP99 <= 100 * ALLOWED

/** Rows of a subject in a cell; there is one figure of all seeds. */
export function againstRows(name: string, subject: string, { goodput, tpotP99 }: Figures): Row[] {
  const row = (metric: string, value: number): Row => ({
    case: name,
    subject,
    metric,
    unit: '%',
    ...summarise([value]),
  })
  return [row('goodput against the better fleet', goodput), row('TPOT p99 against the better fleet', tpotP99)]
}
