/** What hand-offs took, learned. */
import test from 'ava'
import fc from 'fast-check'
import { HandOverTime } from '#phyllo/execution/workflows/prefill-decode/hand-over-time.js'

test('hand-offs: a line is found from lengths that differ, and any numbers give a time', t => {
  const time = new HandOverTime()
  t.true(time.of(100_000) > time.of(1000), 'before anything is known')
  for (let at = 0; at < 100; at++) time.learn(1000 * (1 + (at % 10)), 8 + 0.02 * 1000 * (1 + (at % 10)))
  t.true(Math.abs(time.of(5000) - 108) < 1)
  t.true(Math.abs(time.of(20_000) - 408) < 4)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.double(), fc.double())), fc.nat(1e7), (samples, tokens) => {
      const any = new HandOverTime()
      for (const [length, ms] of samples) any.learn(length, ms)
      return any.of(tokens) >= 0
    }),
  )
})
