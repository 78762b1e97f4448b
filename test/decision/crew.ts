/** A profile on a fleet of so many workers, which take turns as a kernel would have them: for tests of profiles. */
import type { CompiledProfile } from '#phyllo/decision/compile.js'
import type { Profile } from '#phyllo/decision/profile.js'
import { fleetOf, MODEL, seeded, type TestWorker } from './helpers.js'

interface Turn {
  readonly worker: TestWorker
  readonly compiled: CompiledProfile
}

/** Compiles a profile on each of so many workers and hands out workers in an uneven order, as a kernel does. */
export function crew(profile: Profile, pods: number, workers: number) {
  const { fleet, workers: all } = fleetOf(pods, workers)
  const turns = all.map((worker): Turn => ({ worker, compiled: worker.compile(profile) }))
  const draw = seeded(7)
  const next = (): Turn => {
    const turn = turns[Math.floor(draw() * turns.length)]
    if (turn === undefined) throw new Error('there is always a worker')
    return turn
  }
  const serve = (
    fields: Parameters<TestWorker['request']>[0],
    headers: readonly string[] = [],
    model = MODEL,
  ) => {
    const { worker, compiled } = next()
    const ctx = worker.request(fields, headers)
    ctx.model = model
    return worker.serve(compiled, ctx)
  }
  const perPod = (): number[] => Array.from({ length: pods }, (_, slot) => fleet.get('inflight', slot))
  return { fleet, next, serve, perPod, workers: all }
}
