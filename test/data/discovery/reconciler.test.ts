/**
 * The reconciler against a model that says, name by name and without batches, waiting or identities, who should be in
 * the registry after each step of sources and operator.
 */
import test from 'ava'
import fc from 'fast-check'
import { Reconciler } from '#phyllo/data/discovery/reconciler.js'
import type { PodSpec } from '#phyllo/data/pod-registry.js'
import { fleetFor, podNamed, silent, type TestFleet } from './fake-fleet.js'

const NAMES = ['a', 'b', 'c', 'd']
const SOURCES = ['file', 'dns', 'other']

/** How a source describes a pod: a few variations that the reconciler must tell apart. */
const specOf = (name: string) =>
  fc
    .record({ host: fc.constantFrom(name, `${name}2`), limit: fc.constantFrom(0, 5), cordoned: fc.boolean() })
    .map(({ host, limit, cordoned }) =>
      podNamed(name, { url: `http://${host}:8000`, maxInflight: limit, cordoned }),
    )
const list = fc
  .subarray(NAMES)
  .chain(names => fc.tuple(...names.map(specOf)))
  .map(specs => [...specs])

type Step =
  | { readonly kind: 'found'; readonly source: string; readonly pods: readonly PodSpec[] }
  | { readonly kind: 'post' | 'delete'; readonly name: string }
  | { readonly kind: 'cordon'; readonly name: string; readonly on: boolean }

const name = fc.constantFrom(...NAMES)
const found = fc
  .tuple(fc.constantFrom(...SOURCES), list)
  .map(([source, pods]): Step => ({ kind: 'found', source, pods }))
const operator = fc.oneof(
  fc
    .tuple(fc.constantFrom('post' as const, 'delete' as const), name)
    .map(([kind, name]): Step => ({ kind, name })),
  fc.tuple(name, fc.boolean()).map(([name, on]): Step => ({ kind: 'cordon', name, on })),
)
const steps = fc.array(fc.oneof({ weight: 3, arbitrary: found }, { weight: 2, arbitrary: operator }), {
  maxLength: 30,
})

/** A pod in the model's registry. `birth` tells it from others of its name. */
interface ModelPod {
  readonly birth: number
  readonly by: 'source' | 'operator'
  spec: PodSpec
  cordoned: boolean
}

/** What a name's owner said last, and whether an operator's deletion is to be respected. */
interface ModelNote {
  owner: string
  spec: PodSpec
  pod: ModelPod | undefined
}

class Model {
  readonly registry = new Map<string, ModelPod>()
  readonly #lists = new Map<string, readonly PodSpec[]>()
  readonly #notes = new Map<string, ModelNote>()
  #births = 0

  step(step: Step): void {
    if (step.kind === 'found') {
      this.#lists.set(step.source, step.pods)
      for (const each of NAMES) this.#reconcile(each)
    } else if (step.kind === 'post') {
      if (!this.registry.has(step.name)) this.#enter(step.name, 'operator', podNamed(step.name))
    } else if (step.kind === 'delete') this.registry.delete(step.name)
    else if (step.kind === 'cordon') {
      const pod = this.registry.get(step.name)
      if (pod !== undefined) pod.cordoned = step.on
    }
  }

  #enter(name: string, by: ModelPod['by'], spec: PodSpec): ModelPod {
    const pod = { birth: ++this.#births, by, spec, cordoned: spec.cordoned ?? false }
    this.registry.set(name, pod)
    return pod
  }

  #reconcile(name: string): void {
    const said = (source: string) => this.#lists.get(source)?.find(({ id }) => id === name)
    const note = this.#notes.get(name)
    // Sources in the order in which they first came.
    const owner = [note?.owner, ...this.#lists.keys()].find(source => source !== undefined && said(source))
    const spec = owner === undefined ? undefined : said(owner)
    const present = this.registry.get(name)
    const isOurs = present !== undefined && present === note?.pod
    if (owner === undefined || spec === undefined) {
      if (isOurs) this.registry.delete(name)
      this.#notes.delete(name)
      return
    }
    const changed = note === undefined || JSON.stringify(note.spec) !== JSON.stringify(spec)
    if (isOurs) this.#follow(name, present, note.spec, spec)
    else if (present === undefined && changed) this.#enter(name, 'source', spec)
    const now = this.registry.get(name)
    this.#notes.set(name, { owner, spec, pod: now?.by === 'source' ? now : undefined })
  }

  #follow(name: string, pod: ModelPod, before: PodSpec, after: PodSpec): void {
    if (before.url !== after.url) {
      this.#enter(name, 'source', after)
      return
    }
    pod.spec = after
    if (before.cordoned !== after.cordoned) pod.cordoned = after.cordoned ?? false
  }
}

async function act(step: Step, fleet: TestFleet, reconciler: Reconciler): Promise<void> {
  const { registry } = fleet
  if (step.kind === 'found') await reconciler.found(step.source, step.pods)
  else if (step.kind === 'post') {
    if (registry.byId(step.name) === undefined) await registry.add(podNamed(step.name))
  } else if (step.kind === 'delete') await registry.remove(step.name)
  else if (step.kind === 'cordon') registry.cordon(step.name, step.on)
}

const sorted = <T extends { id: string }>(rows: readonly T[]) =>
  [...rows].sort((a, b) => (a.id < b.id ? -1 : 1))

const rowsOf = (fleet: TestFleet) =>
  sorted(
    fleet.registry.pods.map(({ id, url, maxInflight, cordoned }) => ({ id, url, maxInflight, cordoned })),
  )
const rowsOfModel = (model: Model) =>
  sorted(
    [...model.registry].map(([id, { spec, cordoned }]) => {
      const { url, maxInflight = 0 } = spec
      return { id, url, maxInflight, cordoned }
    }),
  )

test('whatever sources and operator do, the registry is what the model says, and no pod is made anew for nothing', async t => {
  await fc.assert(
    fc.asyncProperty(steps, async sequence => {
      const fleet = fleetFor(t)
      const reconciler = new Reconciler(fleet, silent)
      const model = new Model()
      const births = new Map<number, number>()
      for (const step of sequence) {
        await act(step, fleet, reconciler)
        model.step(step)
        t.deepEqual(rowsOf(fleet), rowsOfModel(model), JSON.stringify(step))
        // A pod is the same pod (its reference) exactly as long as the model says that it is.
        for (const pod of fleet.registry.pods) {
          const birth = model.registry.get(pod.id)?.birth ?? 0
          t.is(births.get(birth) ?? pod.ref, pod.ref, `${pod.id} was made anew`)
          births.set(birth, pod.ref)
        }
        t.is(new Set(births.values()).size, births.size)
      }
    }),
    { numRuns: 300 },
  )
})

test('lists that come faster than workers learn of pods end in what was said last', async t => {
  const seed = fc.infiniteStream(fc.nat(3))
  await fc.assert(
    fc.asyncProperty(fc.array(found, { minLength: 1, maxLength: 12 }), seed, async (sequence, delays) => {
      const wait = async () => {
        for (let n = delays.next().value; n > 0; n--) await new Promise(setImmediate)
      }
      const fleet = fleetFor(t, wait)
      const reconciler = new Reconciler(fleet, silent)
      const lists = new Map<string, readonly PodSpec[]>()
      const running: Promise<void>[] = []
      for (const step of sequence) {
        if (step.kind !== 'found') continue
        lists.set(step.source, step.pods)
        running.push(reconciler.found(step.source, step.pods))
        await wait()
      }
      await Promise.all(running)
      const known = [...lists.values()].flat()
      t.deepEqual(
        fleet.registry.pods.map(({ id }) => id).sort(),
        [...new Set(known.map(({ id }) => id))].sort(),
      )
      for (const { id, url } of fleet.registry.pods)
        t.true(known.some(spec => spec.id === id && spec.url === url))
    }),
    { numRuns: 200 },
  )
})

test('one pod at fault does not keep the others out, and comes in when the fault is gone', async t => {
  const fleet = fleetFor(t)
  const refused: string[] = []
  const reconciler = new Reconciler(fleet, {
    ...silent,
    refused: (_source, name, why) => refused.push(`${name}: ${why}`),
  })
  const ids = () => fleet.registry.pods.map(({ id }) => id)
  await reconciler.found('file', [podNamed('a'), podNamed('b', { url: 'nonsense' }), podNamed('c')])
  t.deepEqual(ids(), ['a', 'c'])
  t.regex(refused.join(), /^b: expected an http\(s\) URL, got "nonsense"/)
  // 64 slots: 62 more fit.
  const crowd = Array.from({ length: 63 }, (_, i) => podNamed(`n${i}`))
  await reconciler.found('dns', crowd)
  t.is(ids().length, 64)
  t.deepEqual(refused.filter(line => line.startsWith('n62')).length, 1)
  await fleet.registry.remove('n0')
  fleet.registry.state.setTime(1e9)
  for (let i = 0; i < 2_000 && !ids().includes('n62'); i++) {
    await new Promise(resolve => setTimeout(resolve, 10))
    await reconciler.found('dns', crowd)
  }
  t.true(ids().includes('n62'), 'there was room again')
  t.false(ids().includes('n0'), 'an operator deleted it')
})

test('ranks of an engine come and go together, and a deleted one does not come back by itself', async t => {
  const fleet = fleetFor(t)
  const reconciler = new Reconciler(fleet, silent)
  const ids = () => fleet.registry.pods.map(({ id }) => id)
  const engine = podNamed('e', { dataParallel: 3 })
  await reconciler.found('file', [engine])
  t.deepEqual(ids(), ['e-dp0', 'e-dp1', 'e-dp2'])
  t.is(reconciler.owned('file'), 3)
  await fleet.registry.remove('e-dp1')
  await reconciler.found('file', [engine])
  t.deepEqual(ids(), ['e-dp0', 'e-dp2'])
  await reconciler.found('file', [podNamed('e', { dataParallel: 2 })])
  t.deepEqual(ids(), ['e-dp0', 'e-dp1'], 'another number of ranks is another engine')
  await reconciler.found('file', [])
  t.deepEqual(ids(), [])
})

test('an engine whose ranks do not all fit stays out whole, and takes nothing from the others', async t => {
  const fleet = fleetFor(t)
  const refused: string[] = []
  const reconciler = new Reconciler(fleet, { ...silent, refused: (_source, name) => refused.push(name) })
  const crowd = Array.from({ length: 62 }, (_, i) => podNamed(`n${i}`))
  await reconciler.found('file', [...crowd, podNamed('e', { dataParallel: 3 })])
  t.deepEqual(refused, ['e'])
  t.deepEqual(
    fleet.registry.pods.filter(({ name }) => name === 'e'),
    [],
  )
  // The two slots that it had for a moment are free once they are swept.
  const more = [...crowd, podNamed('m0'), podNamed('m1')]
  for (let i = 0; i < 2_000 && fleet.registry.pods.length < 64; i++) {
    await reconciler.found('file', more)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  t.is(fleet.registry.pods.length, 64)
})

test('a pod without an id has the id that the registry gives it', async t => {
  const fleet = fleetFor(t)
  const reconciler = new Reconciler(fleet, silent)
  await fleet.registry.add({ url: 'http://h:1' })
  await reconciler.found('file', [{ url: 'http://h:1/' }, { url: 'http://h:2' }])
  t.deepEqual(
    fleet.registry.pods.map(({ id }) => id),
    ['h:1', 'h:2'],
  )
  await reconciler.found('file', [])
  t.deepEqual(
    fleet.registry.pods.map(({ id }) => id),
    ['h:1'],
  )
})

test('an engine that two sources know by two names is entered once, under the first', async t => {
  const fleet = fleetFor(t)
  const refused: string[] = []
  const reconciler = new Reconciler(fleet, {
    ...silent,
    refused: (_source, name, why) => refused.push(`${name}: ${why}`),
  })
  const ids = () => fleet.registry.pods.map(({ id }) => id)
  const gpu = podNamed('gpu-1', { url: 'http://10.0.0.1:8000' })
  const byAddress = podNamed('10.0.0.1:8000', { url: 'http://10.0.0.1:8000/' })
  await reconciler.found('file', [gpu, podNamed('b')])
  await reconciler.found('dns', [byAddress, podNamed('c')])
  t.deepEqual(ids(), ['gpu-1', 'b', 'c'])
  t.deepEqual(refused, ["10.0.0.1:8000: http://10.0.0.1:8000 is pod 'gpu-1' already"])
  await reconciler.found('file', [podNamed('b')])
  t.deepEqual(ids(), ['b', 'c', '10.0.0.1:8000'], 'the other name stands in')
  await reconciler.found('dns', [{ ...byAddress, id: 'renamed' }, podNamed('c')])
  t.deepEqual(ids(), ['b', 'c', 'renamed'])
})
