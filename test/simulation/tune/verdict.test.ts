/** What is said of gains: the warnings, and when the best is worth having. */
import test from 'ava'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { gainOf, lossOf } from '#phyllo/simulation/tune/objective.js'
import { type Compared, judge, spreadOf } from '#phyllo/simulation/tune/verdict.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { podsLike, scenario } from '../virtual/kit.js'

const compared = (given: number[], best: number[], rejectedBest = 0): Compared => ({
  given,
  best,
  rejectedGiven: 0,
  rejectedBest,
})
const steady = compared([100, 102, 98], [80, 81, 79])

test('a gain that holds: no warning', t => {
  const { holds, warnings, conclusion, heldBack } = judge('ttft-mean', 0.2, steady, steady)
  t.true(holds)
  t.deepEqual(warnings, [])
  t.true(heldBack.mean > 0.19 && heldBack.mean < 0.21)
  t.regex(conclusion, /the gain is \+20\.0 %, ± [\d.]+ % over seeds: more than chance makes/)
})

test('less than half of what the search saw, or a loss, is warned of', t => {
  const half = judge('ttft-mean', 0.2, steady, compared([100, 100], [95, 95.2]))
  t.true(half.holds)
  t.deepEqual(half.warnings.length, 1)
  t.regex(half.warnings[0] ?? '', /\(\+4\.9 %\) is less than half of what the search saw \(\+20\.0 %\)/)
  const worse = judge('ttft-mean', 0.2, steady, compared([100, 100], [110, 111]))
  t.false(worse.holds)
  t.regex(worse.warnings[0] ?? '', /worse than the profile as given \(-10\.5 %\)/)
  t.regex(worse.conclusion, /keep the profile as given/)
})

test('a gain within the spread of the seeds is warned of, on either part', t => {
  const noisy = compared([100, 100, 100], [60, 130, 95])
  const held = judge('ttft-mean', 0.06, steady, noisy)
  t.false(held.holds)
  t.regex(
    held.warnings.join('\n'),
    /the held-back gain \(\+5\.0 %\) is not larger than the spread over seeds \(± 35/,
  )
  const trained = judge('ttft-mean', 0.06, noisy, steady)
  t.regex(trained.warnings.join('\n'), /^the training gain/)
})

test('more rejections are warned of; nothing better is said so, without warnings', t => {
  const rejecting = judge('ttft-p99', 0.2, steady, { ...steady, rejectedBest: 4 })
  t.regex(rejecting.warnings.join('\n'), /rejects more \(4 against 0/)
  const same = compared([100, 101], [100, 101])
  const none = judge('ttft-p99', 0, same, same)
  t.deepEqual([none.holds, none.warnings], [false, []])
  t.regex(none.conclusion, /^Nothing that was tried is better/)
})

test('gains: of times the part that is saved, of goodput the difference', t => {
  t.is(gainOf('e2e-mean', 200, 150), 0.25)
  t.is(gainOf('goodput', 0.5, 0.75), 0.25)
  t.is(gainOf('goodput', 0, 0.25), 0.25)
  t.deepEqual(spreadOf([1, 3]), { mean: 2, deviation: Math.SQRT2 })
})

test('who turns requests away does not win by the times of the others', async t => {
  const all = await simulate(scenario())
  const few = await simulate(scenario({ fleet: [podsLike(a10gLlama8b, 1, { maxInflight: 1 })] }))
  t.true(few.completed < all.completed && few.completed > 0)
  t.is(lossOf('ttft-mean', few, 0), Number.POSITIVE_INFINITY)
  t.is(lossOf('ttft-mean', few, few.requests), few.ttftMs.mean)
  t.is(lossOf('ttft-mean', all, 0), all.ttftMs.mean)
  t.is(lossOf('goodput', few, 0), -few.goodput.fraction, 'goodput counts them itself')
})
