import test from 'ava'
import fc from 'fast-check'
import { LaneView } from '#phyllo/data/lane-view.js'
import { loadNative } from '#phyllo/data/native.js'
import { random, roundRobin } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { cacheAware, leastRequest } from '#phyllo/decision/profiles/index.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import { fleetOf, seeded, single } from './helpers.js'

const WARM = 8
const CLIENTS = 72
const NEW = WARM

interface Sample {
  /** 0 at the new pod's coming, 1 at the end of its slow start. */
  readonly progress: number
  /** In flight on the new pod, and on the busiest of the others. */
  readonly own: number
  readonly others: number
}

/**
 * Clients that each send their next request when the last is done, over eight warm pods; then a ninth comes. Time is in
 * ticks; a request takes longer the more of them its pod works on.
 */
function closedLoop(slowStartTicks: number, seed: number): Sample[] {
  const { worker, fleet } = fleetOf(WARM + 1)
  const compiled = worker.compile(leastRequest(single()))
  const random = seeded(seed)
  let running: { readonly endsAt: number; readonly end: () => void }[] = []
  const send = (now: number): void => {
    const { slot, end } = worker.serve(compiled, worker.request())
    const busy = fleet.get('inflight', slot)
    running.push({ endsAt: now + Math.ceil((10 + busy) * (0.5 + random())), end })
  }
  const warmUp = 100
  const samples: Sample[] = []
  fleet.set('ready', NEW, 0)
  for (let now = 0; now < warmUp + 1.5 * Math.max(slowStartTicks, 100); now++) {
    if (now === warmUp) fleet.set('ready', NEW, 1)
    const age = now - warmUp
    fleet.set('warmth', NEW, age >= slowStartTicks ? 1 : Math.max(0.1, age / slowStartTicks))
    const done = running.filter(({ endsAt }) => endsAt <= now)
    running = running.filter(({ endsAt }) => endsAt > now)
    for (const { end } of done) end()
    while (running.length < CLIENTS) send(now)
    const loads = Array.from({ length: WARM }, (_, slot) => fleet.get('inflight', slot))
    if (age >= 0)
      samples.push({
        progress: age / slowStartTicks,
        own: fleet.get('inflight', NEW),
        others: Math.max(...loads),
      })
  }
  return samples
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

test('eight busy pods and a new one: its share rises smoothly with its warmth', t => {
  for (const seed of [1, 2]) {
    const samples = closedLoop(600, seed)
    const tenths = Array.from({ length: 10 }, (_, i) =>
      mean(
        samples
          .filter(({ progress }) => Math.min(9, Math.floor(progress * 10)) === i && progress < 1)
          .map(s => s.own),
      ),
    )
    // Never more than its warmth's part of a fair share, of eight requests, and the one that is being placed.
    for (const { progress, own, others } of samples)
      t.true(
        own <= Math.max(0.1, Math.min(1, progress)) * (others + 1) + 1,
        `${own} of ${others} at ${progress}`,
      )
    for (let i = 1; i < 10; i++)
      t.true((tenths[i] ?? 0) >= (tenths[i - 1] ?? 0) - 0.25, `${tenths.map(x => x.toFixed(1))}`)
    // No jump: eight requests over ten tenths are less than one each; half as much again for chance.
    for (let i = 1; i < 10; i++) t.true((tenths[i] ?? 0) - (tenths[i - 1] ?? 0) < 1.5, `${tenths}`)
    const after = mean(samples.filter(({ progress }) => progress > 1.2).map(s => s.own))
    t.true(Math.abs(after - CLIENTS / (WARM + 1)) < 0.5, String(after))
  }
})

test('without a slow start, the new pod is filled at once', t => {
  const samples = closedLoop(0, 1)
  const filled = samples.findIndex(({ own, others }) => own >= others - 1)
  t.true(filled >= 0 && filled < 20, String(filled))
})

const fleetLoads = fc.array(fc.record({ inflight: fc.nat(20), beyond: fc.nat(3) }), {
  minLength: 2,
  maxLength: 12,
})

test('where all pods are equally new, decisions are as if none were', t => {
  fc.assert(
    fc.property(
      fleetLoads,
      fc.double({ min: 0.1, max: 1, noNaN: true }),
      fc.boolean(),
      (pods, warmth, cached) => {
        const picks = [1, warmth].map(value => {
          const { worker, fleet } = fleetOf(pods.length)
          if (cached) fleet.cached = new Map([[0, 600]])
          for (const [slot, { inflight, beyond }] of pods.entries()) {
            fleet.set('inflight', slot, inflight)
            fleet.set('requests', slot, inflight + beyond)
            fleet.set('warmth', slot, value)
          }
          return worker.route(worker.compile(cacheAware(single())), worker.request())
        })
        t.deepEqual(picks[0], picks[1])
      },
    ),
    { numRuns: 100 },
  )
})

test('an idle new pod is no more attractive than an idle warm one, at any warmth', t => {
  for (const warmth of [0.1, 0.3, 0.7, 0.999]) {
    const { worker, fleet } = fleetOf(4)
    fleet.set('warmth', 0, warmth)
    const compiled = worker.compile(leastRequest(single()))
    for (let i = 0; i < 50; i++) t.not(worker.route(compiled, worker.request())[0], 0)
  }
})

test('requests that others sent to a pod count as its own', t => {
  const { worker, fleet } = fleetOf(2)
  fleet.setAll('inflight', [0, 3])
  fleet.set('requests', 0, 9)
  const compiled = worker.compile(leastRequest(single()))
  t.is(worker.route(compiled, worker.request())[0], 1)
})

test('a lane’s columns are those of the state', t => {
  const addon = loadNative()
  const state = addon.SharedState.open('slow-start-columns', { ...STATE_OPTIONS, slowStartMs: 1000 })
  t.teardown(() => addon.SharedState.close('slow-start-columns'))
  state.setTime(5000)
  const refs = ['a', 'b'].map(id => state.addPod(id))
  for (const ref of refs) state.activatePod(ref)
  const lane = new LaneView(addon, state)
  const [, b = 0] = refs
  state.setTime(5250)
  const slot = b % 1024
  lane.native.book(0, b, 0, 0, new Uint32Array(1))
  state.setEngineLoad(b, 4, 2, 0.75)
  lane.beginSelection()
  const read = () =>
    [lane.inflight, lane.requests, lane.waiting, lane.kvUse, lane.warmth].map(column => column[slot])
  t.deepEqual(read(), [1, 6, 2, 0.75, 0.25])
  t.is(lane.requests[1 - slot], 0)
  lane.native.release(b, 0, 0, 0)
  state.setTime(6000)
  lane.beginSelection()
  t.deepEqual(read(), [0, 5, 2, 0.75, 1])
})

for (const [name, pick] of [
  ['round-robin', roundRobin],
  ['random', random],
] as const) {
  test(`${name}: a new pod gets the part of a share that its warmth is, and the others the rest alike`, t => {
    for (const warmth of [0.1, 0.35, 0.8, 1]) {
      const { worker, fleet } = fleetOf(WARM + 1)
      const compiled = worker.compile(profile('p').pick(pick()).execute(single()))
      fleet.set('warmth', NEW, warmth)
      const picked = new Array<number>(WARM + 1).fill(0)
      const rounds = 20_000
      for (let i = 0; i < rounds; i++) {
        const [first = -1] = worker.route(compiled, worker.request())
        picked[first] = (picked[first] ?? 0) + 1
      }
      const share = rounds / (WARM + warmth)
      // Six standard deviations of so many draws, at most.
      const slack = 6 * Math.sqrt(share)
      for (const [slot, count] of picked.entries()) {
        const fair = slot === NEW ? share * warmth : share
        t.true(Math.abs(count - fair) <= slack, `${slot}: ${count} of ${fair} at ${warmth}`)
      }
    }
  })

  test(`${name}: pods that are all equally new share as if none were`, t => {
    const picks = [1, 0.1].map(warmth => {
      const { worker, fleet } = fleetOf(4)
      const compiled = worker.compile(profile('p').pick(pick()).execute(single()))
      for (let slot = 0; slot < 4; slot++) fleet.set('warmth', slot, warmth)
      return Array.from({ length: 40 }, () => worker.route(compiled, worker.request()))
    })
    t.deepEqual(picks[0], picks[1])
  })
}
