/** What holds of every built-in plugin, whatever it does. */
import test from 'ava'
import fc from 'fast-check'
import { profileFromConfig } from '#phyllo/decision/from-config.js'
import { builtinPlugins } from '#phyllo/decision/plugins/index.js'
import { Trace } from '#phyllo/decision/trace.js'
import { fleetOf, testRegistry } from './helpers.js'

/** Options of those that need some. */
const needed: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'concurrency-cap': { factor: 1.25 },
  'label-selector': { match: { zone: 'a' }, orElse: 'all' },
  'length-buckets': { buckets: [{ upTo: 500, value: 'short' }, { value: 'long' }] },
  'slo-headroom': { sloMs: 100 },
  'topology-affinity': { here: { zone: 'a' } },
  'weighted-split': { weights: { a: 1, b: 2 } },
}

/** A profile with the plugin and all that could write what it reads. */
function withPlugin(stage: string, name: string, options: unknown) {
  const all = ['tokenize', 'hash-blocks', 'match-prefix', 'session-key', 'affinity-key']
  const entry = options === undefined ? name : { [name]: options }
  const data: Record<string, unknown> = { prepare: all, pick: 'max-score', execute: 'single' }
  if (stage === 'prepare') data['prepare'] = [...all.filter(each => each !== name), entry]
  else data[stage] = stage === 'pick' ? entry : [entry]
  if (stage === 'prepare' && all.includes(name))
    data['prepare'] = all.map(each => (each === name ? entry : each))
  return profileFromConfig('p', data, testRegistry())
}

for (const { stage, pluginName: name, schema } of builtinPlugins) {
  test(`${name}: unknown and wrong options are refused at their place`, t => {
    const sound = withPlugin(stage, name, needed[name])
    t.true(sound.ok, JSON.stringify(sound))
    const unknown = withPlugin(stage, name, { ...needed[name], nonsense: 1 })
    t.true(
      !unknown.ok &&
        unknown.issues.some(
          ({ path, message }) => path.at(-1) === 'nonsense' && /unknown option/.test(message),
        ),
    )
    for (const option of Object.keys(schema.shape)) {
      const wrong = withPlugin(stage, name, { ...needed[name], [option]: { not: ['a', 'value'] } })
      t.true(
        wrong.ok ? option === 'match' : wrong.issues.some(({ path }) => path.includes(option)),
        `${option}: ${JSON.stringify(wrong)}`,
      )
    }
  })

  if (stage === 'prepare') continue
  test(`${name}: picks candidates only, each once, whatever the fleet looks like`, t => {
    const pod = fc.record({
      inflight: fc.nat(300),
      pendingTokens: fc.nat(1_000_000),
      activeTokens: fc.nat(1_000_000),
      waiting: fc.nat(100),
      kvUse: fc.double({ min: 0, max: 1, noNaN: true }),
      breaker: fc.nat(3),
      ready: fc.constantFrom(0, 1),
      cached: fc.nat(5000),
    })
    const profile = withPlugin(stage, name, needed[name])
    if (!profile.ok) return t.fail()
    fc.assert(
      fc.property(fc.array(pod, { minLength: 1, maxLength: 20 }), fc.nat(5000), (pods, length) => {
        const { worker, fleet } = fleetOf(pods.length)
        fleet.promptTokens = length
        for (const [slot, { cached, ...columns }] of pods.entries()) {
          fleet.cached.set(slot, cached)
          fleet.set('inflight', slot, columns.inflight)
          for (const column of [
            'pendingTokens',
            'activeTokens',
            'waiting',
            'kvUse',
            'breaker',
            'ready',
          ] as const)
            fleet.set(column, slot, columns[column])
        }
        const failed: unknown[] = []
        const compiled = worker.compile(profile.profile, { onPluginFailed: (...of) => failed.push(of) })
        const ctx = worker.request({ messages: [{ role: 'user', content: 'x' }] }, ['x-tenant-id', 't'])
        compiled.prepare(ctx)
        const trace = new Trace(worker.pods)
        compiled.select(ctx, worker.pool, worker.ranking, trace)
        const slots = worker.picked()
        t.deepEqual(failed, [])
        t.is(new Set(slots).size, slots.length)
        t.true(slots.every(slot => slot < pods.length))
        for (const { raw } of trace.selections[0]?.scores ?? [])
          t.true(Object.values(raw).every(value => value >= 0 && Number.isFinite(value)))
        worker.contexts.give(ctx)
      }),
      { numRuns: 60 },
    )
  })
}
