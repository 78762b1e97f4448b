/**
 * The search: a Latin hypercube over the whole space, then steps along the coordinates from the best point found.
 *
 * Why so simple: a trial costs seconds, so there are tens of them, for up to a dozen options of which two or three matter. A Latin
 * hypercube (McKay, Beckman, Conover 1979) cuts each option's range into as many parts as there are points and visits each
 * part once, so whichever options matter are sampled evenly; a grid would repeat a few values of them, and the
 * Halton sequence, which needs no count in advance, moves its dimensions in step where they are many and points few.
 * The objective is not smooth and has noise (ties), which misleads gradients and surrogate models; pattern search (Hooke and
 * Jeeves 1961) only compares. Where all options are lists and every combination is affordable, all are tried.
 *
 * In the end each option is put back to what it was, and stays so if that is no worse: what the result changes, matters.
 */
import { type Random, seededRandom, shuffled } from '../engine/random.js'
import { type Dimension, isWithin, leastStep, placeOf, valueAt } from './dimension.js'

export type Phase = 'given' | 'sampled' | 'refined' | 'simplified'

export interface Trial {
  readonly phase: Phase
  /** One for each dimension, in their order. */
  readonly values: readonly number[]
  /** Less is better; infinite: out of the question. */
  readonly loss: number
}

export interface SearchOptions {
  readonly dimensions: readonly Dimension[]
  /** Most evaluations, at least 1: the values as given are the first. */
  readonly trials: number
  readonly seed: number
  evaluate(values: readonly number[], phase: Phase): Promise<number>
}

export interface SearchResult {
  /** In the order they were made; no two have the same values. */
  readonly trials: readonly Trial[]
  /** Of the least loss, and as much of it as given as does no harm: nothing replaces a given value unless it is better. */
  readonly best: Trial
}

/** Part of the trials that look everywhere. */
const SAMPLED = 0.6
/** Steps along a coordinate end at this part of its range: finer than three digits' worth of an objective with noise. */
const LEAST_STEP = 1 / 128

/** The same options give the same trials, provided `evaluate` gives the same losses. */
export async function search(options: SearchOptions): Promise<SearchResult> {
  const { dimensions, trials, seed } = options
  const run = new Run(options)
  const given = await run.try(
    dimensions.map(dimension => dimension.given),
    'given',
  )
  if (given === null) throw new RangeError('a search needs one trial at least')
  const grid = gridOf(dimensions, trials)
  const sampled = Math.ceil(SAMPLED * trials) - 1
  const points = grid ?? latinHypercube(dimensions.length, sampled, seededRandom(seed))
  for (const point of points) {
    await run.try(
      dimensions.map((dimension, at) => valueAt(dimension, point[at] ?? 0)),
      'sampled',
    )
  }
  // About half the distance between neighbouring points, were they spread evenly.
  const step = Math.min(0.25, Math.max(1 / 16, 0.5 * Math.max(1, sampled) ** (-1 / dimensions.length)))
  // An option that has no part in it has been moved all the same; looking at each once more takes so many trials.
  const kept = Math.min(dimensions.length, Math.floor(trials / 5))
  if (grid === null) await refine(run, dimensions, step, kept)
  const best = await simplify(run, dimensions, run.best ?? given)
  return { trials: run.trials, best }
}

/** Puts options back to what they were, one after the other, where the loss does not rise by it. */
async function simplify(run: Run, dimensions: readonly Dimension[], found: Trial): Promise<Trial> {
  let best = found
  for (const [at, dimension] of dimensions.entries()) {
    const { given } = dimension
    // Whoever names a range without the given value wants another; an option that was off may stay so.
    if (!Number.isNaN(given) && !isWithin(dimension, given)) continue
    const trial = await run.try(best.values.with(at, given), 'simplified')
    if (trial !== null && trial.loss <= best.loss) best = trial
  }
  return best
}

/**
 * From the best point, one coordinate after the other, up and down; steps are halved when none of them helps.
 *
 * @param kept trials to leave over
 */
async function refine(
  run: Run,
  dimensions: readonly Dimension[],
  first: number,
  kept: number,
): Promise<void> {
  let centre = dimensions.map((dimension, at) => placeOf(dimension, run.best?.values[at] ?? dimension.given))
  for (let step = first; step >= LEAST_STEP && run.left > kept; ) {
    let isBetter = false
    for (const [at, dimension] of dimensions.entries()) {
      for (const sign of [1, -1]) {
        if (run.left <= kept) return
        const place = (centre[at] ?? 0) + sign * Math.max(step, leastStep(dimension))
        const next = centre.with(at, Math.min(1, Math.max(0, place)))
        const before = run.best
        await run.try(
          dimensions.map((each, i) => valueAt(each, next[i] ?? 0)),
          'refined',
        )
        if (run.best === before) continue
        centre = next
        isBetter = true
        break
      }
    }
    if (!isBetter) step /= 2
  }
}

/** Trials made, counted and remembered. */
class Run {
  readonly trials: Trial[] = []
  best: Trial | null = null
  readonly #seen = new Map<string, Trial>()

  constructor(private readonly options: SearchOptions) {}

  get left(): number {
    return this.options.trials - this.trials.length
  }

  /** Null where the budget is spent. The same values are not tried twice. */
  async try(values: readonly number[], phase: Phase): Promise<Trial | null> {
    const key = values.join()
    const seen = this.#seen.get(key)
    if (seen !== undefined || this.left <= 0) return seen ?? null
    const loss = await this.options.evaluate(values, phase)
    const trial: Trial = { phase, values, loss: Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss }
    this.trials.push(trial)
    this.#seen.set(key, trial)
    if (this.best === null || trial.loss < this.best.loss) this.best = trial
    return trial
  }
}

/** `count` points in [0, 1)^size: along each axis, one in each `count`th part, at a random place of it. */
export function latinHypercube(size: number, count: number, random: Random): number[][] {
  const axes = Array.from({ length: size }, () =>
    shuffled(
      Array.from({ length: count }, (_, part) => part),
      random,
    ).map(part => (part + random()) / count),
  )
  return Array.from({ length: count }, (_, point) => axes.map(axis => axis[point] ?? 0))
}

/** All combinations, as places, if the dimensions are lists and have fewer than `trials`; otherwise null. */
function gridOf(dimensions: readonly Dimension[], trials: number): number[][] | null {
  let points: number[][] = [[]]
  for (const { choices } of dimensions) {
    if (choices === null || points.length * choices.length >= trials) return null
    const places = choices.map((_, at) => (at + 0.5) / choices.length)
    points = points.flatMap(point => places.map(place => [...point, place]))
  }
  return points
}
