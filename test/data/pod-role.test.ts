/** Which pools a pod is in, by its role and what it is kept to. */
import test from 'ava'
import { isPodRef } from '#phyllo/data/native.js'
import { type Assignment, CONNECTORS, type Connector, type PodRole, ROLES } from '#phyllo/data/pod-role.js'
import { PodView } from '#phyllo/data/pod-view.js'

/** The pools of a view of that one pod. */
function poolsOf(role: PodRole, assigned: Assignment | undefined, connector: Connector = 'nixl'): string[] {
  const ref = 1024
  if (!isPodRef(ref)) throw new Error('no ref')
  const pods = new PodView()
  // Of Mooncake, a pod whose engine is known: without, it takes no prefill.
  const kvTransfer = { connector, bootstrapPort: 8998, engines: new Map([[0, 'engine']]) }
  const where = { origin: 'http://p:1', basePath: '', labels: {}, maxInflight: 0, rank: undefined }
  pods.update(1, [{ ref, id: 'p', models: ['m'], role, assigned, kvTransfer, ...where }])
  const steps = (['prefill', 'decode', 'encode'] as const).filter(step => pods.stepPool('m', step).length > 0)
  return (pods.pool('m')?.length ?? 0) > 0 ? ['whole', ...steps] : steps
}

test('a pod of role both is in the pools of the step that it is kept to; whole requests go where it decodes', t => {
  for (const connector of CONNECTORS) {
    // Started with these, an engine serves nothing without its partner.
    const whole = connector === 'sglang' || connector === 'p2p-nccl' ? [] : ['whole']
    t.deepEqual(poolsOf('both', undefined, connector), [...whole, 'prefill', 'decode'])
    t.deepEqual(poolsOf('both', 'prefill', connector), ['prefill'])
    t.deepEqual(poolsOf('both', 'decode', connector), [...whole, 'decode'])
  }
})

test('pods of other roles are kept to nothing', t => {
  for (const role of ROLES) {
    if (role === 'both') continue
    for (const assigned of ['prefill', 'decode'] as const)
      for (const connector of CONNECTORS)
        t.deepEqual(poolsOf(role, assigned, connector), poolsOf(role, undefined, connector), role)
  }
  for (const connector of CONNECTORS) {
    const alone = connector !== 'sglang' && connector !== 'p2p-nccl'
    t.deepEqual(poolsOf('decode', undefined, connector), alone ? ['whole', 'decode'] : ['decode'])
    t.deepEqual(poolsOf('mixed', undefined, connector), ['whole'])
  }
  t.deepEqual(poolsOf('encode', undefined), ['encode'])
  t.deepEqual(poolsOf('mixed', undefined), ['whole'])
})
