/** Run by allocation.test.ts: prints by how many bytes the heap grew over so many selections of each profile. */
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { fleetOf, single } from './helpers.js'

const selections = Number(process.argv[2])
const collect = globalThis.gc ?? (() => undefined)
const grown: Record<string, number> = {}

for (const profile of shippedProfiles(single())) {
  const { worker, fleet } = fleetOf(64)
  for (let slot = 0; slot < 64; slot++) fleet.set('inflight', slot, (slot * 37) % 11)
  fleet.cached = new Map([[5, 700]])
  const compiled = worker.compile(profile)
  const ctx = worker.request({ user: 'u', messages: [] })
  compiled.prepare(ctx)
  const run = (): void => {
    for (let i = 0; i < selections; i++) compiled.select(ctx, worker.pool, worker.ranking)
  }
  run() // until it is compiled
  collect()
  const before = process.memoryUsage().heapUsed
  run()
  grown[profile.name] = process.memoryUsage().heapUsed - before
}
process.stdout.write(JSON.stringify(grown))
