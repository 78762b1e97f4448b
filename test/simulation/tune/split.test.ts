/** The split of a workload in time: what holds of every one. */
import test from 'ava'
import fc from 'fast-check'
import { JITTER_MS, jittered } from '#phyllo/simulation/tune/jitter.js'
import { splitByTime } from '#phyllo/simulation/tune/split.js'
import { SpanPrompt } from '#phyllo/simulation/virtual/span-prompt.js'
import type { VirtualRequest, Workload } from '#phyllo/simulation/virtual/workload.js'
import { conversations } from '../virtual/kit.js'

/** Each request's answer length is its number, so that it can be told again in a part. */
const request = (number: number, atMs: number, after: number | null): VirtualRequest => ({
  atMs,
  after,
  thinkMs: after === null ? 0 : 5,
  session: null,
  prompt: new SpanPrompt([{ id: number, tokens: 8 }], { id: 10_000 + number, tokens: 1 }),
  outputTokens: number + 1,
})
const workload = (requests: VirtualRequest[]): Workload => ({ name: 'w', requests, modelDir: null })

/** Requests that begin at any time, in any order, or follow any one before them. */
const workloads = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 1000 }), fc.option(fc.nat(1000), { freq: 2 })), {
    minLength: 2,
    maxLength: 60,
  })
  .map(all =>
    workload(
      all.map(([atMs, after], at) =>
        request(at, atMs, at === 0 || after === null ? null : Math.abs(after) % at),
      ),
    ),
  )
const numberOf = ({ outputTokens }: VirtualRequest): number => outputTokens - 1

test('each request is in one part, in its order, behind the same one as before', t => {
  fc.assert(
    fc.property(workloads, fc.double({ min: 0.05, max: 0.9, noNaN: true }), (whole, part) => {
      const roots = whole.requests.filter(({ after }) => after === null).length
      if (roots < 2) {
        t.throws(() => splitByTime(whole, part), { instanceOf: RangeError, message: /few conversations/ })
        return
      }
      let split: ReturnType<typeof splitByTime>
      try {
        split = splitByTime(whole, part)
      } catch (error) {
        // The last conversations are so long that nothing is left to train on.
        t.true(error instanceof RangeError)
        return
      }
      const sides = [split.training, split.heldBack].map(({ requests }) => requests)
      t.deepEqual(
        sides.flatMap(side => side.map(numberOf)).sort((a, b) => a - b),
        whole.requests.map((_, at) => at),
      )
      for (const side of sides) {
        const numbers = side.map(numberOf)
        t.deepEqual(
          numbers,
          numbers.toSorted((a, b) => a - b),
        )
        for (const each of side) {
          const original = whole.requests[numberOf(each)]
          const before = each.after === null ? null : numbers[each.after]
          t.is(before ?? null, original?.after ?? null, 'follow-ups follow what they followed')
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('the held-back conversations begin last, and are as few as make up the part', t => {
  fc.assert(
    fc.property(workloads, fc.double({ min: 0.05, max: 0.9, noNaN: true }), (whole, part) => {
      let split: ReturnType<typeof splitByTime>
      try {
        split = splitByTime(whole, part)
      } catch {
        return
      }
      const starts = (side: Workload) =>
        side.requests
          .filter(({ after }) => after === null)
          .map(each => ({ number: numberOf(each), atMs: whole.requests[numberOf(each)]?.atMs ?? 0 }))
      const [before, held] = [starts(split.training), starts(split.heldBack)]
      const first = Math.min(...held.map(({ atMs }) => atMs))
      t.true(Math.max(...before.map(({ atMs }) => atMs)) <= first)
      const size = split.heldBack.requests.length
      t.true(size >= part * whole.requests.length - 1e-6)
      // Without its earliest conversation it would be too small.
      const earliest = held
        .filter(({ atMs }) => atMs === first)
        .reduce((least, { number }) => Math.min(least, number), Number.POSITIVE_INFINITY)
      const numbers = split.heldBack.requests.map(numberOf)
      const rootOf = (at: number): number => {
        const after = whole.requests[at]?.after ?? null
        return after === null ? at : rootOf(after)
      }
      const own = numbers.filter(number => rootOf(number) === earliest).length
      t.true(size - own < part * whole.requests.length)
    }),
    { numRuns: 300 },
  )
})

test('each part begins at time 0 with the gaps of before', t => {
  const whole = workload([
    request(0, 100, null),
    request(1, 400, null),
    request(2, 450, 0),
    request(3, 900, null),
    request(4, 0, 3),
  ])
  const { training, heldBack } = splitByTime(whole, 0.3)
  t.deepEqual(
    training.requests.map(({ atMs, after }) => [atMs, after]),
    [
      [0, null],
      [300, null],
      [350, 0],
    ],
  )
  t.deepEqual(
    heldBack.requests.map(({ atMs, after }) => [atMs, after]),
    [
      [0, null],
      [0, 0],
    ],
  )
})

test('generated conversations are not cut across', t => {
  const whole = conversations(3)
  const { training, heldBack } = splitByTime(whole, 0.3)
  const sessions = (part: Workload) => new Set(part.requests.map(({ session }) => session))
  const trained = sessions(training)
  t.false([...sessions(heldBack)].some(session => trained.has(session)))
  t.is(training.requests.length + heldBack.requests.length, whole.requests.length)
})

test('jitter moves arrivals by up to 10 ms, another way for each seed, and nothing else', t => {
  const whole = conversations(3)
  const moved = jittered(whole, 1)
  for (const [at, { atMs, ...rest }] of moved.requests.entries()) {
    const { atMs: before, ...same } = whole.requests[at] ?? request(0, 0, null)
    t.true(atMs >= before && atMs < before + JITTER_MS)
    t.deepEqual(rest, same)
  }
  t.deepEqual(jittered(whole, 1), moved)
  t.notDeepEqual(jittered(whole, 2), moved)
})
