/** Axes: where a value lies between 0 and 1, and which values are marked. */

export interface Scale {
  /** 0 at the axis's start, 1 at its end; values beyond are held to it. */
  place(value: number): number
  readonly ticks: readonly number[]
}

/** From 0 to somewhat above `most`, marked at round numbers. */
export function linearScale(most: number, marks = 5): Scale {
  const step = roundStep((most > 0 ? most : 1) / marks)
  const end = Math.ceil((most > 0 ? most : 1) / step - 1e-9) * step
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, at) =>
    Number((at * step).toPrecision(12)),
  )
  return { place: value => held(value / end), ticks }
}

/** Exactly from 0 to `end`. */
export function spanScale(end: number, marks = 6): Scale {
  const step = roundStep(end / marks)
  const ticks: number[] = []
  for (let at = 0; at * step <= end * (1 + 1e-9); at++) ticks.push(Number((at * step).toPrecision(12)))
  return { place: value => held(value / end), ticks }
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** What people count time in. */
const TIME_STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map(count => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map(count => count * MINUTE),
  ...[1, 2, 4, 6, 12, 24, 48, 168].map(count => count * HOUR),
]

/** From 0 to exactly `endMs`, marked at round times. */
export function timeScale(endMs: number, marks = 7): Scale {
  const step = TIME_STEPS.find(each => endMs / each <= marks)
  if (step === undefined || endMs < step) return spanScale(endMs, marks)
  const ticks = Array.from({ length: Math.floor(endMs / step + 1e-9) + 1 }, (_, at) => at * step)
  return { place: value => held(value / endMs), ticks }
}

/** Powers of ten around the values, of which 1, 2 and 5 times are marked where there is room. */
export function logScale(least: number, most: number): Scale {
  const from = Math.floor(Math.log10(Math.max(least, 1e-3)))
  const to = Math.max(from + 1, Math.ceil(Math.log10(Math.max(most, 1e-3)) - 1e-9))
  const factors = to - from <= 3 ? [1, 2, 5] : [1]
  const ticks: number[] = []
  for (let power = from; power <= to; power++) {
    for (const factor of factors) if (power < to || factor === 1) ticks.push(factor * 10 ** power)
  }
  return { place: value => held((Math.log10(Math.max(value, 1e-9)) - from) / (to - from)), ticks }
}

const held = (part: number): number => Math.min(1, Math.max(0, part))

/** 1, 2 or 5 times a power of ten, at least the wanted step. */
function roundStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted))
  return ([1, 2, 5].find(factor => factor * power >= wanted * (1 - 1e-9)) ?? 10) * power
}
