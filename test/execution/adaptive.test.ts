/** The adaptive choice, and what it learns of hand-offs. */
import test from 'ava'
import fc from 'fast-check'
import { isTicket, NO_TICKET } from '#phyllo/data/native.js'
import type { PodRole } from '#phyllo/data/pod-role.js'
import { AdaptiveChoice } from '#phyllo/execution/workflows/prefill-decode/adaptive.js'
import { HandOverTime } from '#phyllo/execution/workflows/prefill-decode/hand-over-time.js'
import { SHORT } from '#phyllo/execution/workflows/prefill-decode/short-way.js'
import { FakeFleet } from '../decision/fake-addon.js'
import { pod, TestWorker } from '../decision/helpers.js'

/** A worker of pods of these roles, and what a request with so many tokens chooses, nothing of it cached. */
function chooserOf(roles: readonly PodRole[]) {
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    roles.map((role, slot) => ({ ...pod(slot), role })),
  )
  const choice = new AdaptiveChoice()
  const choose = (
    uncachedTokens: number,
    keptApart: boolean | undefined,
    isPrepared = true,
    isLearned = true,
  ) => {
    fleet.promptTokens = uncachedTokens
    const ctx = worker.request()
    const ticket = isPrepared ? worker.lane.native.prepare(0, 0, 0, ctx.body, ctx.fields) : NO_TICKET
    if (!isTicket(ticket)) throw new Error('nothing was prepared')
    ctx.ticket = ticket
    ctx.keptApart = keptApart
    worker.lane.beginSelection()
    const { pods, latency } = worker
    const picked = pods.bySlot(roles.length - 1)
    if (picked === undefined) throw new Error('there is no such pod')
    const input = { ctx, pod: picked, uncachedTokens, pods, latency: isLearned ? latency : undefined }
    const why = choice.why(input)
    const answer = { why, whyNot: why === undefined ? choice.whyNot(input) : undefined }
    worker.contexts.give(ctx)
    return answer
  }
  return { fleet, choose }
}

test('kept apart: up to the fixed threshold straight; all together: all straight; whatever the loads', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200_000 }),
      fc.array(fc.nat(1e6), { maxLength: 3 }),
      (tokens, loads) => {
        const { fleet, choose } = chooserOf(['both', 'both', 'decode'])
        fleet.setAll('pendingTokens', loads)
        t.is(choose(tokens, true).why === undefined, tokens > SHORT)
        t.not(choose(tokens, false).why, undefined)
      },
    ),
  )
})

test('nothing decided for the fleet: prompts go where they hold up fewer', t => {
  const { fleet, choose } = chooserOf(['prefill', 'decode'])
  fleet.set('inflight', 1, 20)
  t.regex(choose(10_000, undefined).whyNot ?? '', /^10000 uncached tokens: on pod-1 \d+ ms and \d+ ms/)
  fleet.set('inflight', 1, 0)
  fleet.set('pendingTokens', 0, 1e6)
  t.regex(choose(10_000, undefined).why ?? '', /costs less/)
})

test('what was not compared is told without figures, which would be those of an earlier request', t => {
  const { choose } = chooserOf(['prefill', 'decode'])
  const { why, whyNot } = choose(10_000, undefined)
  t.regex(whyNot ?? why ?? '', /./, 'an earlier one')
  for (const apart of [undefined, true])
    t.is(choose(20_000, apart, false).whyNot, 'nobody has counted its tokens')
  t.is(
    choose(20_000, undefined, true, false).whyNot,
    '20000 uncached tokens, and nobody learns what they take',
  )
})

test('nobody prefills: nothing is split, unless nobody has counted its tokens', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200_000 }),
      fc.nat(50),
      fc.boolean(),
      (tokens, requests, isSick) => {
        const { fleet, choose } = chooserOf(isSick ? ['prefill', 'decode'] : ['decode', 'decode'])
        if (isSick) fleet.set('ready', 0, 0)
        fleet.set('inflight', 1, requests)
        t.is(choose(tokens, undefined).why, 'no prefill pod takes requests')
        // As with a fixed threshold, the workflow's own fallback serves what has no prefill pod then.
        t.is(choose(tokens, undefined, false).why, undefined)
      },
    ),
  )
})

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
