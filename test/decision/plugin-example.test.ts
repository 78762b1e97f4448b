import test from 'ava'
import { z } from 'zod'
import { scorer } from '#phyllo/decision/factories.js'
import { profileFromConfig } from '#phyllo/decision/from-config.js'
import { fleetOf, testRegistry } from './helpers.js'

// The plugin of the README.
const labelMatch = scorer({
  name: 'label-match',
  summary: 'Prefers pods with a label, e.g. a zone.',
  options: z.object({
    label: z.string().describe("The label's name."),
    value: z.string().describe('The value it must have.'),
  }),
  build:
    ({ label, value }, { pods }) =>
    (_ctx, candidates, out) => {
      for (let i = 0; i < candidates.length; i++) {
        if (pods.bySlot(candidates.slots[i] ?? 0)?.labels[label] === value) out[i] = 1
      }
    },
})

test('a user’s plugin in 15 lines works from YAML, weight and all', t => {
  const registry = testRegistry()
  registry.register(labelMatch)
  const result = profileFromConfig(
    'zoned',
    {
      score: [{ 'label-match': { label: 'zone', value: 'b', weight: 2 } }],
      pick: 'max-score',
      execute: 'single',
    },
    registry,
  )
  if (!result.ok) return t.fail(JSON.stringify(result.issues))
  const { worker } = fleetOf(3)
  worker.update(
    [0, 1, 2].flatMap(slot => {
      const info = worker.pods.bySlot(slot)
      return info === undefined ? [] : [{ ...info, labels: { zone: slot === 1 ? 'b' : 'a' } }]
    }),
  )
  t.is(worker.route(worker.compile(result.profile), worker.request())[0], 1)
})
