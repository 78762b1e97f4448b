/** What must compile of profiles, and what must not, with the message that the compiler then prints. */
import { executor, filter, preparer } from '#phyllo/decision/factories.js'
import {
  hashBlocks,
  hashRing,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  sessionAffinity,
  sessionKey,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { type Profile, profile, type SlotNotWritten, type Supplied } from '#phyllo/decision/profile.js'
import { slot } from '#phyllo/decision/slot.js'

const single = executor({ name: 'single', summary: '.' })

const sound: Profile = profile('cache-aware')
  .prepare(tokenize(), hashBlocks(), matchPrefix())
  .filter(healthy())
  .score(prefixOverlap({ weight: 3 }), leastLoad({ weight: 2 }))
  .pick(maxScore({ tieBreak: 'least-load' }))
  .execute(single())
// Prepare, Filter and Score may each be left out.
const least: Profile = profile('least').score(leastLoad()).pick(maxScore()).execute(single())
const bare: Profile = profile('bare').pick(maxScore()).execute(single())
export const profiles = [sound, least, bare]

// @ts-expect-error nothing writes cachedTokens
profile('x').score(prefixOverlap())
// @ts-expect-error tokenize writes promptLength, but nothing cachedTokens
profile('x').prepare(tokenize()).score(leastLoad(), prefixOverlap())
// @ts-expect-error hash-blocks reads what tokenize writes, so it is the wrong order
profile('x').prepare(hashBlocks(), tokenize(), matchPrefix())
// @ts-expect-error match-prefix before hash-blocks
profile('x').prepare(tokenize(), matchPrefix(), hashBlocks())
// @ts-expect-error nothing writes affinityKey
profile('x').prepare(sessionKey()).pick(hashRing())
// @ts-expect-error nothing writes sessionPod
profile('x').filter(healthy()).score(sessionAffinity()).pick(maxScore()).execute(single())
profile('x').prepare(sessionKey()).score(sessionAffinity()).pick(maxScore()).execute(single())

// Stages in their order, each once; Pick and Execute required.
// @ts-expect-error no Pick
profile('x').score(leastLoad()).execute(single())
// @ts-expect-error no Execute
export const unfinished: Profile = profile('x').pick(maxScore())
// @ts-expect-error Filter after Score
profile('x').score(leastLoad()).filter(healthy())
// @ts-expect-error Prepare after Filter
profile('x').filter(healthy()).prepare(tokenize())
// @ts-expect-error a scorer is no filter
profile('x').filter(leastLoad())
// @ts-expect-error a factory is no plugin yet
profile('x').score(leastLoad)
// @ts-expect-error one picker
profile('x').pick(maxScore(), maxScore())

// A user's slot and plugins are checked just as the built-in ones.
const tenant = slot('tenant').of<string>()
const tenantOf = preparer({
  name: 'tenant-of',
  summary: '.',
  writes: [tenant],
  prepare(ctx) {
    ctx.set(tenant, ctx.header('x-tenant') ?? '')
  },
})
const tenantPods = filter({ name: 'tenant-pods', summary: '.', reads: [tenant], filter() {} })
profile('x').prepare(tenantOf()).filter(tenantPods()).pick(maxScore()).execute(single())
// @ts-expect-error nothing writes tenant
profile('x').prepare(tokenize()).filter(tenantPods())

/** Compiles only if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Same<A, B>): void => {}

// The message names plugin and slot; of a sound plugin it is the spec itself.
const overlap = prefixOverlap()
same<
  Supplied<'promptLength', typeof overlap>,
  "plugin 'prefix-overlap' reads slot 'cachedTokens', which nothing before it writes"
>(true)
same<
  Supplied<never, typeof overlap>,
  | "plugin 'prefix-overlap' reads slot 'cachedTokens', which nothing before it writes"
  | "plugin 'prefix-overlap' reads slot 'promptLength', which nothing before it writes"
>(true)
same<Supplied<'cachedTokens' | 'promptLength' | 'other', typeof overlap>, typeof overlap>(true)
same<
  SlotNotWritten<'tenant-pods', 'tenant'>,
  "plugin 'tenant-pods' reads slot 'tenant', which nothing before it writes"
>(true)
// @ts-expect-error `same` can fail
same<'a', 'b'>(true)
