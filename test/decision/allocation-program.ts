/** Run by allocation.test.ts: prints by how many bytes the heap grew over so many selections of each profile. */

import { decodeApart, hashBlocks, matchPrefix, maxScore, tokenize } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { fleetOf, MODEL, pod, single } from './helpers.js'

const selections = Number(process.argv[2])
const collect = globalThis.gc ?? (() => undefined)
const grown: Record<string, number> = {}

/**
 * Of the decode step of a fleet with both kinds of pods, which learns from each arrival. No prompt waits here, so that the
 * two ways are never compared: that is done every eighth time, and makes an object of what is asked for.
 */
const apart = profile('decode-apart')
  .prepare(tokenize(), hashBlocks(), matchPrefix())
  .filter(decodeApart())
  .pick(maxScore())
  .execute(single())

for (const profile of [...shippedProfiles(single()), apart]) {
  const { worker, fleet } = fleetOf(64)
  if (profile.name === apart.name)
    worker.update(
      Array.from({ length: 64 }, (_, slot) => ({ ...pod(slot), role: slot % 2 ? 'both' : 'decode' })),
    )
  const pool = profile.name === apart.name ? worker.pods.stepPool(MODEL, 'decode') : worker.pool
  for (let slot = 0; slot < 64; slot++) fleet.set('inflight', slot, (slot * 37) % 11)
  fleet.cached = new Map([[5, 700]])
  const compiled = worker.compile(profile)
  const ctx = worker.request({ user: 'u', messages: [] })
  compiled.prepare(ctx)
  const run = (): void => {
    for (let i = 0; i < selections; i++) {
      ctx.keptApart = undefined
      compiled.select(ctx, pool, worker.ranking)
    }
  }
  run() // until it is compiled
  collect()
  const before = process.memoryUsage().heapUsed
  run()
  grown[profile.name] = process.memoryUsage().heapUsed - before
}
process.stdout.write(JSON.stringify(grown))
