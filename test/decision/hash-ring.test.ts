import test from 'ava'
import fc from 'fast-check'
import { FleetRing } from '#phyllo/decision/fleet-ring.js'
import { hashText } from '#phyllo/decision/hash.js'
import { affinityKey, hashRing, healthy } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { fleetOf, pod, single, type TestWorker } from './helpers.js'

const ringProfile = profile('ring')
  .prepare(affinityKey())
  .filter(healthy())
  .pick(hashRing())
  .execute(single())
const keys = Array.from({ length: 3000 }, (_, i) => `session-${i}`)

/** Where each key goes, by pod id. */
function routes(worker: TestWorker): Map<string, string | undefined> {
  const compiled = worker.compile(ringProfile)
  return new Map(
    keys.map(key => {
      const ctx = worker.request({}, ['x-session-id', key])
      const [slot = -1] = worker.route(compiled, ctx)
      worker.contexts.give(ctx)
      return [key, worker.pods.bySlot(slot)?.id]
    }),
  )
}

test('the hash is what it is documented to be', t => {
  // FNV-1a of '' is its offset basis and of 'a' 0xe40c292c; MurmurHash3's finaliser makes these of them.
  t.is(hashText(''), 0xab3e7c0b)
  t.is(hashText('a'), 0x1a80b1b3)
})

test('long and short texts are hashed alike, whatever they hold', t => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), text => {
      // Written out once more, over the bytes of the platform's own encoder.
      const bytes = new TextEncoder().encode(text)
      let hash = 0x811c9dc5
      for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
      let h = hash >>> 0
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
      t.is(hashText(text), (h ^ (h >>> 16)) >>> 0)
    }),
  )
})

test('one key goes to one pod, on every worker and whatever slots the pods have', t => {
  const { worker } = fleetOf(8)
  const before = routes(worker)
  t.deepEqual(routes(worker), before)
  const { worker: other } = fleetOf(8)
  other.update(Array.from({ length: 8 }, (_, slot) => pod(slot, `pod-${(slot + 5) % 8}`)))
  t.deepEqual(routes(other), before)
})

test('keys spread evenly: no pod has over 1.35 times its share', t => {
  const perPod = new Map<string | undefined, number>()
  const { worker } = fleetOf(8)
  for (const id of routes(worker).values()) perPod.set(id, (perPod.get(id) ?? 0) + 1)
  t.is(perPod.size, 8)
  t.true(Math.max(...perPod.values()) < (keys.length / 8) * 1.35, JSON.stringify([...perPod]))
})

test('a pod that leaves moves its own keys and no others; coming back it gets the same ones', t => {
  const { worker } = fleetOf(8)
  const before = routes(worker)
  const all = Array.from({ length: 8 }, (_, slot) => pod(slot))
  worker.update(all.filter(({ id }) => id !== 'pod-3'))
  const without = routes(worker)
  let moved = 0
  for (const key of keys) {
    if (before.get(key) === 'pod-3') moved++
    else t.is(without.get(key), before.get(key))
    t.not(without.get(key), 'pod-3')
  }
  t.true(moved > 0 && moved < (keys.length / 8) * 1.35)
  worker.update(all)
  t.deepEqual(routes(worker), before)
})

test('a filtered pod is skipped just as if it had left', t => {
  const { worker, fleet } = fleetOf(8)
  fleet.set('ready', 3, 0)
  const skipped = routes(worker)
  fleet.set('ready', 3, 1)
  worker.update(Array.from({ length: 8 }, (_, slot) => pod(slot)).filter(({ id }) => id !== 'pod-3'))
  t.deepEqual(routes(worker), skipped)
})

test('the first fall-back is where the key would go without its pod', t => {
  const { worker } = fleetOf(6)
  const compiled = worker.compile(ringProfile)
  for (const key of keys.slice(0, 100)) {
    const ctx = worker.request({}, ['x-session-id', key])
    const [first = -1, second] = worker.route(compiled, ctx)
    const rest = [...worker.pool.slots].filter(slot => slot !== first)
    t.is(worker.route(compiled, ctx, { slots: Uint16Array.from(rest), length: rest.length })[0], second)
  }
})

test('every candidate is ranked once, as far as the ranking reaches', t => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(19), { minLength: 1 }), fc.string(), (slots, key) => {
      const { worker } = fleetOf(20)
      const pool = { slots: Uint16Array.from(slots).sort(), length: slots.length }
      const picked = worker.route(worker.compile(ringProfile), worker.request({ user: key }), pool)
      t.is(picked.length, Math.min(8, slots.length))
      t.is(new Set(picked).size, picked.length)
      t.true(picked.every(slot => slots.includes(slot)))
    }),
    { numRuns: 50 },
  )
})

test('a ring is made anew when pods come, go or swap slots, not for what else changes of a fleet', t => {
  const { worker } = fleetOf(4)
  const fleetRing = new FleetRing(worker.pods, 16)
  const ringOf = () => {
    fleetRing.begin(worker.pool)
    fleetRing.end(worker.pool)
    return fleetRing.ring
  }
  const pods = [0, 1, 2, 3].map(slot => pod(slot))
  const first = ringOf()
  worker.update(pods.map(info => ({ ...info, labels: { zone: 'a' }, models: ['m', 'adapter'] })))
  t.is(ringOf(), first)
  const changes = [
    [...pods, pod(4)],
    pods.slice(1),
    [pod(0, 'pod-1'), pod(1, 'pod-0'), pod(2), pod(3)],
    [pod(0), pod(1), pod(2), pod(3, 'pod-3', 2)],
  ]
  for (const change of changes) {
    worker.update(pods)
    const before = ringOf()
    worker.update(change)
    t.not(ringOf(), before)
    t.is(ringOf().length, change.length * 16)
  }
})
