/** The search on objectives whose best is known. */
import test from 'ava'
import fc from 'fast-check'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import { type Dimension, placeOf, valueAt } from '#phyllo/simulation/tune/dimension.js'
import { latinHypercube, search } from '#phyllo/simulation/tune/search.js'

const range = (low: number, high: number, given: number, isInteger = false): Dimension => ({
  label: 'x',
  given,
  low,
  high,
  isInteger,
  choices: null,
})
const list = (choices: number[], given: number): Dimension => ({
  ...range(Math.min(...choices), Math.max(...choices), given),
  choices,
})
const run = (dimensions: Dimension[], loss: (values: readonly number[]) => number, trials = 60, seed = 1) =>
  search({ dimensions, trials, seed, evaluate: async values => loss(values) })

test('a bowl over the logarithms of three options: the best of 60 trials lies close to its bottom', async t => {
  const bottom = [0.7, 30, 2200]
  const off = (values: readonly number[]) =>
    values.reduce((sum, value, at) => sum + Math.log(value / (bottom[at] ?? 1)) ** 2, 0)
  const dimensions = [range(0.1, 10, 5), range(1, 100, 2), range(500, 8000, 8000)]
  for (let seed = 1; seed <= 10; seed++) {
    const { best, trials } = await run(dimensions, off, 60, seed)
    t.is(trials.length, 60)
    // Within a factor of 1.35 in each option at most; as given it is a factor of 7, 15 and 4 away.
    t.true(best.loss < Math.log(1.35) ** 2, `seed ${seed}: ${best.values}`)
    t.true(best.loss < Math.min(...trials.filter(({ phase }) => phase === 'sampled').map(({ loss }) => loss)))
  }
})

test('the same seed makes the same trials; another makes others', async t => {
  const dimensions = [range(0, 1, 0.5), range(1, 64, 8, true), list([0.5, 1, 2], 1)]
  const loss = ([x = 0, n = 0, w = 0]: readonly number[]) => (x - 0.3) ** 2 + Math.abs(n - 20) + w
  const first = await run(dimensions, loss, 40, 7)
  t.deepEqual(await run(dimensions, loss, 40, 7), first)
  t.notDeepEqual(await run(dimensions, loss, 40, 8), first)
})

test('lists are searched as a grid, where the trials suffice', async t => {
  const asked: string[] = []
  const { best, trials } = await run(
    [list([1, 2, 3, 4], 2), list([10, 20, 30], 10)],
    ([a = 0, b = 0]) => {
      asked.push(`${a}/${b}`)
      return Math.abs(a - 4) + Math.abs(b - 20)
    },
    20,
  )
  t.deepEqual(best.values, [4, 20])
  t.is(trials.length, 12, 'each combination once, and the one as given first')
  t.is(asked[0], '2/10')
  t.is(new Set(asked).size, 12)
})

test('what is no better does not replace the values as given, even outside of the range', async t => {
  const { best, trials } = await run([range(2, 4, 1)], ([x = 0]) => x, 20)
  t.is(trials.indexOf(best), 0)
  t.deepEqual(best.values, [1])
  const flat = await run([range(0, 1, 0.5)], () => 3, 20)
  t.is(flat.best.phase, 'given')
})

test('options without a part in it are left as they were', async t => {
  const inert = [range(0, 1, 0.25), range(1, 100, 7), list([1, 2, 3], 2)]
  for (let seed = 1; seed <= 5; seed++) {
    const { best } = await run([range(0.1, 10, 5), ...inert], ([x = 0]) => Math.abs(Math.log(x)), 40, seed)
    t.deepEqual(best.values.slice(1), [0.25, 7, 2])
    t.true(best.loss < 0.3, `${best.values[0]}`)
  }
})

test('values that are refused (infinite, NaN) never win; a single trial is the one as given', async t => {
  const { best } = await run(
    [range(0, 1, 0.9)],
    ([x = 0]) => (x < 0.5 ? Number.NaN : x < 0.6 ? Number.POSITIVE_INFINITY : x),
    30,
  )
  t.true(best.loss >= 0.6 && best.loss < 0.65)
  t.deepEqual(
    (await run([range(0, 1, 0.9)], () => 1, 1)).trials.map(({ values }) => values),
    [[0.9]],
  )
})

const dimensions = fc
  .tuple(
    fc.double({ min: 0, max: 100, noNaN: true }),
    fc.double({ min: 0.5, max: 1000, noNaN: true }),
    fc.boolean(),
    fc.option(fc.uniqueArray(fc.integer({ min: -5, max: 50 }), { minLength: 1, maxLength: 6 })),
  )
  .map(([low, width, isInteger, choices]): Dimension => {
    if (choices !== null)
      return list(
        choices.toSorted((a, b) => a - b),
        1,
      )
    const from = isInteger ? Math.ceil(low) : low
    return range(from, from + (isInteger ? Math.ceil(width) : width), from, isInteger)
  })

test('every trial lies in the ranges, is made once, and there are never more than allowed', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(dimensions, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 40 }),
      fc.nat(),
      async (space, trials, seed) => {
        const noise = seededRandom(seed)
        const result = await run(space, () => noise(), trials, seed)
        t.true(result.trials.length <= trials)
        t.is(new Set(result.trials.map(({ values }) => values.join())).size, result.trials.length)
        t.is(result.best.loss, Math.min(...result.trials.map(({ loss }) => loss)))
        for (const { values } of result.trials.slice(1)) {
          for (const [at, { low, high, isInteger, choices }] of space.entries()) {
            const value = values[at] ?? Number.NaN
            t.true(value >= low && value <= high)
            if (choices !== null) t.true(choices.includes(value))
            else if (isInteger) t.true(Number.isInteger(value))
          }
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('places and values lead to each other', t => {
  fc.assert(
    fc.property(dimensions, fc.double({ min: 0, max: 1, noNaN: true }), (dimension, place) => {
      const value = valueAt(dimension, place)
      const back = valueAt(dimension, placeOf(dimension, value))
      // Rounded to three digits twice, or to the same whole number.
      t.true(Math.abs(back - value) <= 0.01 * Math.abs(value) + 1e-9, `${value} came back as ${back}`)
    }),
  )
})

test('a Latin hypercube has one point in each part of each axis', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 50 }),
      fc.nat(),
      (size, count, seed) => {
        const points = latinHypercube(size, count, seededRandom(seed))
        for (let axis = 0; axis < size; axis++) {
          const parts = points.map(point => Math.floor((point[axis] ?? 0) * count)).sort((a, b) => a - b)
          t.deepEqual(
            parts,
            Array.from({ length: count }, (_, at) => at),
          )
        }
      },
    ),
  )
})
