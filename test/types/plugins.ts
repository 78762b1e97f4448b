/** What must compile of plugins, and what must not. It is the compiler that runs this test. */
import { z } from 'zod'
import { cost, filter, picker, preparer, scorer } from '#phyllo/decision/factories.js'
import {
  affinityGate,
  concurrencyCap,
  leastLoad,
  maxScore,
  prefillTime,
  prefixOverlap,
  tokenize,
  weightedSplit,
} from '#phyllo/decision/plugins/index.js'
import { slot } from '#phyllo/decision/slot.js'
import { cachedTokens, promptLength, sessionKey } from '#phyllo/decision/slots.js'

// Declared slots come out with their types, undeclared ones do not compile.
scorer({
  name: 'declared',
  summary: '.',
  reads: [cachedTokens, promptLength],
  score(ctx, pods, out) {
    const cached: Uint32Array = ctx.get(cachedTokens)
    const length: number = ctx.get(promptLength)
    out[0] = (cached[pods.slots[0] ?? 0] ?? 0) / length
    // @ts-expect-error sessionKey is not among the reads
    ctx.get(sessionKey)
  },
})
scorer({
  name: 'nothing-declared',
  summary: '.',
  score(ctx) {
    // @ts-expect-error no slot is declared
    ctx.get(promptLength)
    // @ts-expect-error a scorer writes no slots
    ctx.set(promptLength, 1)
  },
})
filter({
  name: 'built',
  summary: '.',
  reads: [promptLength],
  options: z.object({ max: z.number().default(5) }),
  build:
    ({ max }, env) =>
    (ctx, pods, keep) => {
      const most: number = max
      for (let i = 0; i < pods.length; i++) if (ctx.get(promptLength) > most * env.now()) keep[i] = 0
      // @ts-expect-error not declared, inside build just as well
      ctx.get(cachedTokens)
    },
})
picker({
  name: 'picks',
  summary: '.',
  pick(ctx, pods, scores, ranking) {
    if ((scores[0] ?? 0) > 0) ranking.push(pods.slots[0] ?? 0)
    // @ts-expect-error not declared
    ctx.get(cachedTokens)
  },
})

const tenant = slot('tenant').of<{ readonly id: string }>()
preparer({
  name: 'writes',
  summary: '.',
  reads: [promptLength],
  writes: [tenant],
  prepare(ctx) {
    ctx.set(tenant, { id: ctx.header('x-tenant') ?? 'none' })
    // @ts-expect-error of another type
    ctx.set(tenant, 5)
    // @ts-expect-error not among the writes
    ctx.set(sessionKey, 'x')
    // @ts-expect-error not among the reads
    ctx.get(tenant)
    const length: number = ctx.get(promptLength)
    return length > 5 ? Promise.resolve() : undefined
  },
})

// Options: typed, with the weight on every scorer and on nothing else.
prefixOverlap({ weight: 3 })
leastLoad({ weight: 2, slack: 4 })
leastLoad()
maxScore({ tieBreak: 'rotate' })
concurrencyCap({ factor: 1.25 })
// @ts-expect-error a typing mistake
prefixOverlap({ wieght: 3 })
// @ts-expect-error of another type
leastLoad({ slack: 'much' })
// @ts-expect-error no such way
maxScore({ tieBreak: 'luck' })
// @ts-expect-error a picker has no weight
maxScore({ weight: 1 })
// @ts-expect-error tokenize has no options
tokenize({ model: 'm' })

const needy = scorer({
  name: 'needy',
  summary: '.',
  options: z.object({ url: z.string() }),
  build:
    ({ url }) =>
    (_ctx, _pods, out) => {
      out[0] = url.length
    },
})
needy({ url: 'http://x' })
needy({ url: 'http://x', weight: 2 })
// @ts-expect-error url is required
needy()
// @ts-expect-error either score or build
scorer({ name: 'neither', summary: '.' })

// Costs are scorers in all but their measure: weight, slots and options are checked alike.
const metered = cost({
  name: 'metered',
  summary: '.',
  reads: [promptLength],
  cost(ctx, pods, out) {
    for (let i = 0; i < pods.length; i++) out[i] = ctx.get(promptLength)
    // @ts-expect-error not declared
    ctx.get(cachedTokens)
  },
})
metered({ weight: 2 })
// @ts-expect-error no such option
metered({ unit: 'ms' })
// @ts-expect-error a cost has a cost function, or a build
cost({ name: 'neither', summary: '.' })
// @ts-expect-error a score function does not make a cost
cost({ name: 'score', summary: '.', score() {} })

// What a plugin is told of bookings, and where it may note things.
scorer({
  name: 'counts',
  summary: '.',
  options: z.object({}),
  build: (_, env) => {
    env.onBooked((ctx, slot) => env.board.wentCold(ctx.model === '' ? 0 : slot))
    // @ts-expect-error the listener is told a slot
    env.onBooked((_ctx, slot: string) => slot)
    return () => {}
  },
})
prefillTime({ classes: { h100: 30_000 }, fetchTokensPerSecond: 1e6 })
affinityGate({ keep: 'best', turns: 'follow-up' })
weightedSplit({ weights: { stable: 95, canary: 5 } })
// @ts-expect-error weights are required
weightedSplit()
// @ts-expect-error a rate, not a text
prefillTime({ classes: { h100: 'fast' } })
// @ts-expect-error no such choice
affinityGate({ keep: 'some' })
