/** The chains that each model's requests are hashed to: what is asked of the native core, for any fleet. */
import test from 'ava'
import fc from 'fast-check'
import { CACHE, isPodRef, type PodRef } from '#phyllo/data/native.js'
import { makePod, namesOf, type Pod } from '#phyllo/data/pod.js'
import { NO_KV_EVENTS } from '#phyllo/data/pod-events.js'
import { ModelChains } from '#phyllo/server/model-chains.js'

const MODELS: Readonly<Record<string, { id: number; blockSize: number }>> = {
  m: { id: 4, blockSize: 16 },
  next: { id: 2, blockSize: 32 },
  other: { id: 7, blockSize: 64 },
}

interface FleetPod {
  readonly models: readonly string[]
  readonly variant: string | undefined
  /** As its engine says; 0: it does not. */
  readonly blockSize: number
}

const refOf = (slot: number): PodRef => {
  const ref = 1024 + slot
  if (!isPodRef(ref)) throw new Error('a slot is not negative')
  return ref
}

function podOf({ models, variant }: FleetPod, slot: number): Pod {
  const spec = { id: `p${slot}`, url: `http://p${slot}:1`, models, variant }
  return makePod(spec, namesOf(spec, undefined), refOf(slot), NO_KV_EVENTS)
}

/** A native state that notes what it is told. */
function recorder(fleet: readonly FleetPod[]) {
  const chains = new Map<number, readonly (readonly [model: number, blockSize: number])[]>()
  const variants = new Map<number, number>()
  let calls = 0
  const state = {
    cacheStatus: (ref: number, out: Float64Array) => {
      const pod = fleet[ref % 1024]
      if (pod !== undefined) out[CACHE.blockSize] = pod.blockSize
      return pod !== undefined
    },
    setChains: (model: number, pairs: Uint32Array) => {
      calls += 1
      const list = [...pairs]
      chains.set(
        model,
        list.flatMap((id, i) => (i % 2 === 0 ? [[id, list[i + 1] ?? -1] as const] : [])),
      )
    },
    setPodCache: (ref: number, blockSize: number, blocks: number, variant: number) => {
      // Block size and count are for the metrics and events to say.
      if (blockSize !== 0 || blocks !== 0) throw new Error('only the variant is ours to say')
      variants.set(ref, variant)
    },
  }
  return { state, chains, variants, calls: () => calls }
}

const fleetPod: fc.Arbitrary<FleetPod> = fc.record({
  models: fc.constantFrom(['m'], ['m'], ['next'], ['m', 'other'], ['next', 'other'], ['unknown'], []),
  variant: fc.constantFrom(undefined, undefined, 'next'),
  blockSize: fc.constantFrom(0, 16, 32),
})

test('every pod finds a chain of its own kind, nobody else brings one, and the first is the model’s own', t => {
  fc.assert(
    fc.property(fc.array(fleetPod, { maxLength: 12 }), fleet => {
      const { state, chains, variants, calls } = recorder(fleet)
      const table = new ModelChains(
        state,
        name => MODELS[name],
        () => {},
      )
      const pods = fleet.map(podOf)
      table.refresh(pods)
      for (const [name, { id }] of Object.entries(MODELS)) {
        const serving = fleet.filter(({ models }) => models.includes(name))
        const pairs = chains.get(id)
        if (serving.length === 0) {
          t.is(pairs, undefined)
          continue
        }
        if (pairs === undefined) return void t.fail(`no chains for ${name}`)
        t.is(new Set(pairs.map(String)).size, pairs.length, 'each once')
        // A pod's kind: what a request to it must be hashed as. Who does not say is like those that do.
        const whoseOf = ({ variant, models }: FleetPod) =>
          variant === undefined || variant === models[0] ? id : (MODELS[variant]?.id ?? id)
        for (const pod of serving) {
          const kinds = pairs.filter(([whose]) => whose === whoseOf(pod))
          if (pod.blockSize === 0) t.true(kinds.length > 0)
          else t.true(kinds.some(([, size]) => size === pod.blockSize))
        }
        for (const [whose, size] of pairs) {
          const fellows = serving.filter(pod => whoseOf(pod) === whose)
          const said = fellows.some(({ blockSize }) => blockSize > 0)
          const configured = Object.values(MODELS).find(model => model.id === whose)?.blockSize
          t.true(said ? fellows.some(({ blockSize }) => blockSize === size) : size === configured)
          t.true(fellows.length > 0)
        }
        if (serving.some(pod => whoseOf(pod) === id)) t.is(pairs[0]?.[0], id)
      }
      for (const [slot, pod] of fleet.entries()) {
        const [base] = pod.models
        const runsAnother = pod.variant !== undefined && base !== undefined && base !== pod.variant
        t.is(variants.get(refOf(slot)), runsAnother ? MODELS['next']?.id : undefined)
      }
      const before = calls()
      t.false(table.refresh(pods))
      t.is(calls(), before, 'nothing is set anew without need')
    }),
    { numRuns: 500 },
  )
})

test('a rollout, pod by pod', t => {
  const fleet = Array.from(
    { length: 3 },
    (): { models: string[]; variant: string | undefined; blockSize: number } => ({
      models: ['m'],
      variant: undefined,
      blockSize: 0,
    }),
  )
  const { state, chains } = recorder(fleet)
  const table = new ModelChains(
    state,
    name => MODELS[name],
    () => {},
  )
  const refresh = () => table.refresh(fleet.map(podOf))
  t.true(refresh())
  t.deepEqual(chains.get(4), [[4, 16]], 'as configured while no engine says')
  const [first, second, third] = fleet
  if (first === undefined || second === undefined || third === undefined) return t.fail()
  first.blockSize = 32
  t.true(refresh())
  t.deepEqual(chains.get(4), [[4, 32]], 'the others are taken for alike')
  second.blockSize = 32
  t.false(refresh())
  third.variant = 'next'
  t.true(refresh())
  t.deepEqual(chains.get(4), [
    [4, 32],
    [2, 32],
  ])
  third.blockSize = 64
  t.true(refresh())
  t.deepEqual(chains.get(4), [
    [4, 32],
    [2, 64],
  ])
  first.variant = 'next'
  second.variant = 'next'
  t.true(refresh())
  t.deepEqual(chains.get(4), [
    [2, 32],
    [2, 64],
  ])
})

test('a pod whose variant is its own base model is like any other, whatever adapters it serves besides', t => {
  const fleet: FleetPod[] = [
    { models: ['m'], variant: undefined, blockSize: 16 },
    { models: ['m', 'other'], variant: 'm', blockSize: 16 },
  ]
  const { state, chains, variants } = recorder(fleet)
  new ModelChains(
    state,
    name => MODELS[name],
    () => {},
  ).refresh(fleet.map(podOf))
  t.deepEqual([...variants], [], 'else its events would have a root that no request for it has')
  t.deepEqual(chains.get(4), [[4, 16]])
})
