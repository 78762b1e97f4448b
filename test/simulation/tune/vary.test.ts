/** What `--vary` may name, and the profile with other numbers in it. */
import test from 'ava'
import { parse } from 'yaml'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import { profileFromConfig, profileToConfig } from '#phyllo/decision/from-config.js'
import type { Profile } from '#phyllo/decision/profile.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { knownPlugins, resolveProfiles } from '#phyllo/server/profiles.js'
import { OptionsError } from '#phyllo/simulation/options/failure.js'
import { candidate } from '#phyllo/simulation/tune/candidate.js'
import { valueAt } from '#phyllo/simulation/tune/dimension.js'
import { configYaml } from '#phyllo/simulation/tune/output.js'
import { spaceOf } from '#phyllo/simulation/tune/vary.js'
import { profileNamed } from '../virtual/kit.js'

const registry = knownPlugins()
const knobs = (profile: string, ...vary: string[]) =>
  spaceOf(profileNamed(profile), registry, vary.length === 0 ? undefined : vary).knobs
const ranges = (profile: string, ...vary: string[]) =>
  knobs(profile, ...vary).map(({ label, given, low, high, choices }) => [
    label,
    given,
    choices ?? [low, high],
  ])
const complaint = (profile: string, ...vary: string[]): string => {
  try {
    knobs(profile, ...vary)
  } catch (error) {
    if (error instanceof OptionsError) return error.message
    throw error
  }
  return ''
}

test('ranges, open ranges, lists, and an option alone with its schema’s bounds', t => {
  t.deepEqual(ranges('cache-aware', 'prefill-time.kvRoom=0.1..0.5'), [
    ['prefill-time.kvRoom', 0.2, [0.1, 0.5]],
  ])
  t.deepEqual(ranges('cache-aware', 'prefill-time.kvRoom'), [['prefill-time.kvRoom', 0.2, [0, 1]]])
  t.deepEqual(ranges('cache-aware', 'prefill-time.kvRoom=..0.4'), [['prefill-time.kvRoom', 0.2, [0, 0.4]]])
  // Over 0 without a least, and without a most: within the factor.
  t.deepEqual(ranges('llm-d', 'queue.weight=1..'), [['queue.weight', 2, [1, 8]]])
  t.deepEqual(ranges('llm-d', 'queue.weight'), [['queue.weight', 2, [0.5, 8]]])
  t.deepEqual(ranges('llm-d', 'queue.weight=2,0.5,1,1', 'kv-use.weight=1e0..2'), [
    ['queue.weight', 2, [0.5, 1, 2]],
    ['kv-use.weight', 2, [1, 2]],
  ])
  t.deepEqual(ranges('dualmap', 'prefix-key.tokens=64..512'), [['prefix-key.tokens', 256, [64, 512]]])
  const [off] = knobs('cache-aware', 'prefill-time.fetchTokensPerSecond=1e4..1e5')
  t.is(off?.given, Number.NaN, 'an option that is off has no number')
})

test('without --vary: all numbers within a factor of 4 and the schema, but the first weight and what is off', t => {
  t.deepEqual(ranges('llm-d').slice(0, 3), [
    ['kv-use.weight', 2, [0.5, 8]],
    ['prefix-overlap.weight', 3, [0.75, 12]],
    ['no-hit-lru.weight', 2, [0.5, 8]],
  ])
  const gate = spaceOf(profileNamed('smetric'), registry, undefined)
  t.deepEqual(
    gate.leftOut.filter(label => label.startsWith('affinity-gate')),
    ['affinity-gate.explore (0)', 'affinity-gate.maxPenaltyMs (0)'],
  )
  for (const profile of shippedProfiles(single())) {
    let space: ReturnType<typeof spaceOf>
    try {
      space = spaceOf(profile, registry, undefined)
    } catch (error) {
      t.true(error instanceof OptionsError && /has no number to vary/.test(error.message), profile.name)
      continue
    }
    // Whatever the ranges hold, the plugins take it.
    for (const place of [0, 0.37, 1]) {
      const values = space.knobs.map(knob => valueAt(knob, place))
      t.not(candidate(profile, registry, space.knobs, values), null, `${profile.name}: ${values}`)
    }
  }
})

test('wrong ones are told with the nearest name, the bounds and the fix', t => {
  t.regex(
    complaint('cache-aware', 'prefil-time.kvRoom=0..1'),
    /^--vary {2}profile 'cache-aware' has no plugin 'prefil-time' — write prefill-time$/,
  )
  t.regex(complaint('cache-aware', 'queue.weight=1..2'), /has no plugin 'queue' — it has prefill-time$/)
  t.regex(
    complaint('cache-aware', 'prefill-time.kvRom=0..1'),
    /^--vary {2}plugin 'prefill-time' has no option 'kvRom' — write prefill-time\.kvRoom$/,
  )
  t.regex(
    complaint('cache-aware', 'prefill-time.measured=0..1'),
    /measured is no number — numbers of 'prefill-time': ownFactor, /,
  )
  t.regex(
    complaint('cache-aware', 'prefill-time.kvRoom=0..2'),
    /^--vary {2}prefill-time\.kvRoom: expected a number at least 0 and at most 1, got "2" — /,
  )
  t.regex(complaint('llm-d', 'queue.weight=0..2'), /expected a number over 0, got "0"/)
  t.regex(
    complaint('power-of-two', 'random-candidates.choices=1.5,2'),
    /expected a whole number at least 1 and at most/,
  )
  t.regex(complaint('llm-d', 'queue.weight=2..1'), /2\.\.1 is no range — write the lower number first/)
  t.regex(complaint('llm-d', 'queue.weight=1..x'), /expected a number, got "x"/)
  t.regex(complaint('llm-d', 'queue.weight='), /expected a number, got ""/)
  t.regex(
    complaint('llm-d', 'weight=1..2'),
    /^--vary {2}expected PLUGIN\.OPTION=LOW\.\.HIGH, got "weight=1\.\.2" — write /,
  )
  t.regex(
    complaint('llm-d', 'queue.weight=1..2', 'queue.weight=3,4'),
    /^--vary {2}queue\.weight is named twice/,
  )
  t.regex(
    complaint('cache-aware', 'prefill-time.fetchTokensPerSecond'),
    /is not set and its plugin names no least — write a range/,
  )
  t.regex(complaint('round-robin'), /^--profile {2}'round-robin' has no number to vary/)
})

test('a plugin that stands twice is named by its number', t => {
  const score = [{ 'least-load': { slack: 4 } }, 'least-load']
  const made = profileFromConfig('twice', { score, pick: 'max-score', execute: 'single' }, registry)
  if (!made.ok) return t.fail(JSON.stringify(made.issues))
  const { knobs } = spaceOf(made.profile, registry, ['least-load[2].slack=1..9', 'least-load.slack=1..9'])
  const tuned = candidate(made.profile, registry, knobs, [7, 3])
  t.deepEqual(tuned === null ? null : profileToConfig(tuned).score, [
    { 'least-load': { slack: 3 } },
    { 'least-load': { slack: 7 } },
  ])
})

test('values the plugins refuse together make no profile', t => {
  const made = candidate(
    profileNamed('cache-aware'),
    registry,
    knobs('cache-aware', 'prefill-time.kvRoom'),
    [7],
  )
  t.is(made, null)
})

test('the best profile as YAML is the profile: for every shipped one', t => {
  for (const profile of shippedProfiles(single())) {
    const tuned = tunedOf(profile)
    const data: { profiles: Record<string, unknown>; plugins: string[] } = parse(
      configYaml(tuned, ['said above', 'and: here'], { plugins: ['/a/b/mine.js'], file: '/a/out/best.yaml' }),
    )
    t.deepEqual(Object.keys(data.profiles), [tuned.name])
    t.deepEqual(data.plugins, ['../b/mine.js'])
    const back = profileFromConfig(tuned.name, data.profiles[tuned.name], registry)
    if (!back.ok) return t.fail(JSON.stringify(back.issues))
    t.deepEqual(profileToConfig(back.profile), profileToConfig(tuned))
  }
})

/** With each of its numbers moved, where it has any. */
function tunedOf(profile: Profile): Profile {
  try {
    const { knobs } = spaceOf(profile, registry, undefined)
    const values = knobs.map(knob => valueAt(knob, 0.61))
    return candidate(profile, registry, knobs, values, `${profile.name}-tuned`) ?? profile
  } catch (error) {
    if (error instanceof OptionsError) return profile
    throw error
  }
}

test('the best profile as YAML brings the configured workflow that it names, and those that it falls back to', t => {
  const own = (more: string): string =>
    `{ ${more} steps: [{ name: serve, request: { set: { x: { value: null } } } }] }`
  const text = `workflows:\n  mine: ${own('fallback: second,')}\n  second: ${own('')}\n  other: ${own('')}\nprofiles: { p: { pick: random, execute: mine } }\n`
  const loaded = parseConfig(text)
  if (!loaded.ok) return t.fail(formatIssues(loaded.issues))
  const { workflows } = loaded.config
  const found = resolveProfiles(loaded.config).get('p')
  if (found === undefined) return t.fail()
  const made = candidate(found, knownPlugins(workflows), [], [], 'p-tuned')
  if (made === null) return t.fail('it is no candidate')
  const written = parseConfig(configYaml(made, [], { plugins: [], workflows, file: 'best.yaml' }))
  if (!written.ok) return t.fail(formatIssues(written.issues))
  t.deepEqual(Object.keys(written.config.workflows ?? {}), ['mine', 'second'])
  t.deepEqual(written.config.workflows?.['mine'], workflows?.['mine'])
})
