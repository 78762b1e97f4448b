/** The keeper of the split over a made-up fleet: clock, loads and metrics are the test's. */
import test from 'ava'
import { isPodRef, type PodRef, slotOf } from '#phyllo/data/native.js'
import { makePod, namesOf, type Pod } from '#phyllo/data/pod.js'
import { NO_KV_EVENTS } from '#phyllo/data/pod-events.js'
import type { Assignment, PodRole } from '#phyllo/data/pod-role.js'
import type { ScrapeStatus } from '#phyllo/data/scrape/scraper.js'
import type { DisaggregationOptions } from '#phyllo/server/options.js'
import { SplitKeeper } from '#phyllo/server/split-keeper.js'

const refOf = (slot: number): PodRef => {
  const ref = 1024 + slot
  if (!isPodRef(ref)) throw new Error('a slot is not negative')
  return ref
}

interface Load {
  sent: number
  pending: number
  inflight: number
  kvUse: number | undefined
  ageMs: number
  ready: boolean
  msPerToken: number
}

/** Pods that all take the same work; each look is a second later. */
class FakeFleet {
  readonly loads = new Map<number, Load>()
  readonly lines: string[] = []
  pods: Pod[] = []
  now = 0
  versions = 0
  /** What telling the workers waits for. */
  telling: Promise<void> = Promise.resolve()
  readonly keeper: SplitKeeper

  constructor(roles: readonly PodRole[], reassign: Partial<DisaggregationOptions['reassign']> = {}) {
    for (const role of roles) this.join(role)
    const status = (pod: Pod): ScrapeStatus | undefined => {
      const { kvUse, ageMs } = this.of(pod)
      if (kvUse === undefined) return undefined
      const reading = { engine: 'vllm', running: 1, waiting: 0, kvUse, blockSize: 16, blocks: 100 }
      return { reading, ageMs, failures: 0, fault: undefined }
    }
    this.keeper = new SplitKeeper(
      {
        registry: this,
        state: {
          podStatus: (ref, out) => {
            const load = this.loads.get(ref)
            out.set([
              load?.inflight ?? 0,
              load?.pending ?? 0,
              0,
              0,
              load?.ready ? 2 : 3,
              1,
              load?.pending ?? 0,
            ])
            return true
          },
        },
        scraper: { status },
        latency: { msPerToken: ref => this.loads.get(ref)?.msPerToken ?? -1 },
        sentTokens: slot => this.loads.get(1024 + slot)?.sent ?? 0,
        log: {
          info: (...args: unknown[]) => void this.lines.push(String(args.at(-1))),
          error: (...args: unknown[]) => void this.lines.push(String(args.at(-1))),
        },
        now: () => this.now,
      },
      {
        everyMs: 1000,
        windowMs: 5000,
        reassign: {
          enabled: true,
          minPrefill: 1,
          minDecode: 1,
          hysteresis: 0.75,
          cooldownMs: 10_000,
          ...reassign,
        },
      },
    )
  }

  async assign(assignments: ReadonlyMap<Pod, Assignment | undefined>): Promise<void> {
    for (const [pod, assigned] of assignments) pod.assigned = assigned
    this.versions++
    await this.telling
  }

  join(role: PodRole, models: readonly string[] = ['m']): Pod {
    const slot = this.loads.size
    const spec = { id: `p${slot}`, url: `http://p${slot}:1`, role, models }
    const pod = makePod(spec, namesOf(spec, undefined), refOf(slot), NO_KV_EVENTS)
    this.loads.set(pod.ref, {
      sent: 0,
      pending: 0,
      inflight: 0,
      kvUse: 0,
      ageMs: 500,
      ready: true,
      msPerToken: 0.1,
    })
    this.pods.push(pod)
    return pod
  }

  of(pod: Pod): Load {
    const load = this.loads.get(pod.ref)
    if (load === undefined) throw new Error(pod.id)
    return load
  }

  /** Seconds in which the fleet prefills so many pods' worth, and holds so many pods' worth of KV. */
  async run(seconds: number, prefill: number, decode: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      this.now += 1000
      const prefilling = this.pods.filter(pod => pod.assigned !== 'decode' && pod.role !== 'decode')
      const decoding = this.pods.filter(pod => pod.assigned !== 'prefill' && pod.role !== 'prefill')
      // At 0.1 ms a token a pod computes 10,000 in a second.
      for (const pod of prefilling) this.of(pod).sent += (prefill * 10_000) / prefilling.length
      for (const pod of this.pods) {
        const load = this.of(pod)
        if (load.kvUse !== undefined) load.kvUse = decoding.includes(pod) ? decode / decoding.length : 0
      }
      this.keeper.look()
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  get assigned() {
    return this.pods.map(pod => pod.assigned ?? 'both')
  }
  get split() {
    return this.keeper.status()[0]
  }
}

const near = (a: number | undefined, b: number) => a !== undefined && Math.abs(a - b) < 1e-9

test('it recommends by a whole window, and says what it knows before', async t => {
  const fleet = new FakeFleet(['prefill', 'decode', 'decode', 'decode'], { enabled: false })
  await fleet.run(3, 1, 1)
  t.like(fleet.split, { model: 'm', prefill: 1, decode: 3, both: 0, recommended: undefined })
  t.regex(fleet.split?.whyNone ?? '', /first window/)
  await fleet.run(4, 1, 1)
  const { split } = fleet
  t.like(split?.recommended, { prefill: 2, decode: 2 })
  // The first look has no rate of arrivals, and has left the window by now.
  t.true(near(split?.demand.prefill, 1) && near(split?.demand.decode, 1))
  t.true(near(split?.pressure.prefill, 1) && near(split?.pressure.decode, 1 / 3))
  t.deepEqual(fleet.assigned, ['both', 'both', 'both', 'both'])
})

test('pods of role both follow the load: a pod per cooldown, each told once, with its reason', async t => {
  const fleet = new FakeFleet(['both', 'both', 'both', 'both'])
  await fleet.run(60, 0.5, 1.5)
  t.deepEqual([...fleet.assigned].sort(), ['decode', 'decode', 'decode', 'prefill'])
  t.is(fleet.versions, 4)
  await fleet.run(100, 0.5, 1.5)
  t.is(fleet.versions, 4)
  t.regex(
    fleet.lines[0] ?? '',
    /^pod p\d takes decode from now on: 4 of 4 pods took prefill, for a share of 1\.00$/,
  )
  // The load turns round.
  await fleet.run(60, 1.5, 0.5)
  t.deepEqual([...fleet.assigned].sort(), ['decode', 'prefill', 'prefill', 'prefill'])
  const counts = fleet.keeper.counts.rows.filter(({ count }) => count > 0)
  t.deepEqual(counts, [
    { to: 'prefill', reason: 'pressure', count: 3 },
    { to: 'decode', reason: 'pressure', count: 3 },
  ])
})

test('an idle fleet, and one of which nothing is known, stays as it is', async t => {
  const fleet = new FakeFleet(['both', 'both', 'both', 'both'])
  await fleet.run(30, 0, 0)
  t.regex(fleet.split?.whyNone ?? '', /idle/)
  for (const load of fleet.loads.values()) load.msPerToken = -1
  await fleet.run(30, 1, 1)
  t.regex(fleet.split?.whyNone ?? '', /prefill rate/)
  for (const load of fleet.loads.values())
    Object.assign(load, { msPerToken: 0.1, kvUse: undefined, inflight: 1 })
  await fleet.run(30, 1, 1)
  t.regex(fleet.split?.whyNone ?? '', /how full/)
  // What an engine said long ago is as good as nothing.
  for (const load of fleet.loads.values()) Object.assign(load, { kvUse: 0.5, ageMs: 60_000 })
  await fleet.run(30, 1, 1)
  t.regex(fleet.split?.whyNone ?? '', /how full/)
  t.is(fleet.versions, 0)
})

test('while no rate is known, looks that see no tokens do not say that there is nothing to prefill', async t => {
  const fleet = new FakeFleet(['both', 'both', 'both', 'both'])
  for (const load of fleet.loads.values()) load.msPerToken = -1
  for (let i = 0; i < 20; i++) {
    await fleet.run(1, 2, 1)
    await fleet.run(1, 0, 1)
  }
  t.is(fleet.versions, 0)
  for (const load of fleet.loads.values()) load.msPerToken = 0.1
  await fleet.run(1, 2, 1)
  // Of five looks, three saw two pods' worth.
  t.true(near(fleet.split?.demand.prefill, 1.2))
})

test('switched off, all pods take both again; switched on, they follow once more', async t => {
  const fleet = new FakeFleet(['both', 'both', 'both', 'both'])
  await fleet.run(60, 0.5, 1.5)
  await fleet.keeper.enable(false)
  t.deepEqual(fleet.assigned, ['both', 'both', 'both', 'both'])
  t.is(fleet.versions, 5)
  await fleet.run(60, 0.5, 1.5)
  t.is(fleet.versions, 5)
  await fleet.keeper.enable(true)
  await fleet.run(60, 0.5, 1.5)
  t.deepEqual([...fleet.assigned].sort(), ['decode', 'decode', 'decode', 'prefill'])
})

test('where the last prefill pod goes or takes no requests, a decode pod gets both steps again at the next look', async t => {
  for (const remove of [true, false]) {
    const fleet = new FakeFleet(['both', 'both', 'both', 'both'])
    await fleet.run(60, 0.5, 1.5)
    const prefill = fleet.pods.find(pod => pod.assigned === 'prefill')
    if (prefill === undefined) return t.fail()
    if (remove) fleet.pods = fleet.pods.filter(pod => pod !== prefill)
    else fleet.of(prefill).ready = false
    await fleet.run(1, 0.5, 1.5)
    t.is(fleet.pods.filter(pod => pod !== prefill && pod.assigned === undefined).length, 1)
    t.regex(fleet.lines.at(-1) ?? '', /takes prefill and decode from now on: 0 pods took prefill, and 1 must/)
  }
})

test('nothing is changed while the workers are still being told of the last change', async t => {
  const fleet = new FakeFleet(['both', 'both', 'both', 'both'], { cooldownMs: 0 })
  let told: () => void = () => undefined
  fleet.telling = new Promise(resolve => {
    told = resolve
  })
  await fleet.run(60, 0.5, 1.5)
  t.is(fleet.versions, 1)
  told()
  await fleet.run(60, 0.5, 1.5)
  t.is(fleet.versions, 4)
})

test('models are divided each by its own load; mixed pods and those without a model take no part', async t => {
  const fleet = new FakeFleet(['both', 'both', 'mixed'])
  for (let i = 0; i < 3; i++) fleet.join('both', ['n', 'adapter'])
  fleet.join('both', [])
  await fleet.run(10, 1, 1)
  t.deepEqual(
    fleet.keeper.status().map(({ model, both, prefill, decode }) => [model, both + prefill + decode]),
    [
      ['m', 2],
      ['n', 3],
    ],
  )
  fleet.pods = fleet.pods.filter(pod => !pod.models.includes('n'))
  await fleet.run(1, 1, 1)
  t.deepEqual(
    fleet.keeper.status().map(({ model }) => model),
    ['m'],
  )
})

test('a pod that takes over a slot does not arrive with the tokens of the one before', async t => {
  const fleet = new FakeFleet(['prefill', 'decode'], { enabled: false })
  await fleet.run(10, 0.5, 0.5)
  const [gone] = fleet.pods
  if (gone === undefined) return t.fail()
  const spec = { id: 'new', url: 'http://new:1', role: 'prefill' as const, models: ['m'] }
  fleet.pods[0] = makePod(spec, namesOf(spec, undefined), gone.ref, NO_KV_EVENTS)
  t.is(slotOf(gone.ref), 0)
  fleet.of(gone).sent = 1e9
  await fleet.run(10, 0.5, 0.5)
  t.true(near(fleet.split?.demand.prefill, 0.5))
})
