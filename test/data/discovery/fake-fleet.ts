/** A fleet for the reconciler: the real registry over a native state of its own, and an operator beside it. */
import type { ExecutionContext } from 'ava'
import type { Fleet, ReconcilerEvents } from '#phyllo/data/discovery/reconciler.js'
import { loadNative } from '#phyllo/data/native.js'
import { PodRegistry, type PodSpec } from '#phyllo/data/pod-registry.js'
import { STATE_OPTIONS } from '../state-options.js'

let states = 0

export interface TestFleet extends Fleet {
  readonly registry: PodRegistry
}

/** `delay`: how long workers take to acknowledge a version. */
export function fleetFor(t: ExecutionContext, delay: () => Promise<void> = async () => {}): TestFleet {
  const name = `discovery-test-${process.pid}-${++states}`
  const state = loadNative().SharedState.open(name, STATE_OPTIONS)
  t.teardown(() => void loadNative().SharedState.close(name))
  return fleetOf(new PodRegistry(state, delay))
}

export function fleetOf(registry: PodRegistry): TestFleet {
  return {
    registry,
    get pods() {
      return registry.pods
    },
    named: id => registry.named(id),
    add: specs => registry.addEach(specs),
    remove: names => registry.removeAll(names),
    update: changes => registry.update(changes),
    cordon: (id, cordoned) => void registry.cordon(id, cordoned),
  }
}

export const silent: ReconcilerEvents = { added() {}, removed() {}, changed() {}, refused() {} }

export const podNamed = (name: string, fields: Partial<PodSpec> = {}): PodSpec => ({
  id: name,
  url: `http://${name}:8000`,
  ...fields,
})
