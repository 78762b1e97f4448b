/** The shipped profiles, each with one worker and with three that share a fleet. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { parse } from 'yaml'
import { z } from 'zod'
import { profileFromConfig, profileToConfig } from '#phyllo/decision/from-config.js'
import type { Profile } from '#phyllo/decision/profile.js'
import {
  cacheAware,
  consistentHash,
  leastRequest,
  profileYaml,
  random,
  roundRobin,
  sessionSticky,
  shippedProfiles,
} from '#phyllo/decision/profiles/index.js'
import { crew } from './crew.js'
import { seeded, single, testRegistry } from './helpers.js'

const exampleFile = z.object({ profiles: z.record(z.string(), z.unknown()) })

test('each is under ten lines of YAML, which load as the same profile', t => {
  const profiles = shippedProfiles(single())
  t.deepEqual(
    profiles.map(({ name }) => name),
    [
      'random',
      'round-robin',
      'least-request',
      'power-of-two',
      'cache-aware',
      'session-sticky',
      'consistent-hash',
      'chwbl',
      'prefix-hash',
      'vllm-consistent-hash',
      'sglang-cache-aware',
      'aibrix-prefix-cache',
      'llm-d',
      'affinity-gate',
      'dynamo',
      'lmetric',
      'smetric',
      'dualmap',
    ],
  )
  for (const profile of profiles) {
    const yaml = profileYaml(profile)
    t.true(yaml.trimEnd().split('\n').length < 10, yaml)
    const data: unknown = parse(yaml)
    if (typeof data !== 'object' || data === null) return t.fail(yaml)
    const [[name, body] = ['', undefined]] = Object.entries(data)
    const result = profileFromConfig(name, body, testRegistry())
    if (!result.ok) return t.fail(JSON.stringify(result.issues))
    t.is(profileYaml(result.profile), yaml)
  }
})

const examples = fileURLToPath(new URL('../../../examples/profiles/', import.meta.url))

test('each stands among the examples as YAML, which loads as the same profile', t => {
  const shipped = shippedProfiles(single())
  t.deepEqual(readdirSync(examples).sort(), shipped.map(({ name }) => `${name}.yaml`).sort())
  for (const profile of shipped) {
    const { profiles } = exampleFile.parse(parse(readFileSync(`${examples}${profile.name}.yaml`, 'utf8')))
    t.deepEqual(Object.keys(profiles), [profile.name])
    const result = profileFromConfig(profile.name, profiles[profile.name], testRegistry())
    if (!result.ok) return t.fail(JSON.stringify(result.issues))
    t.deepEqual(profileToConfig(result.profile), profileToConfig(profile))
    const weights = ({ score }: Profile) => score.map(({ name, weight }) => [name, weight])
    t.deepEqual(weights(result.profile), weights(profile))
  }
})

test('the YAML is as one would write it by hand', t => {
  t.is(
    profileYaml(consistentHash(single())),
    `consistent-hash:
  prepare: [ affinity-key ]
  filter: [ healthy, circuit-closed, { concurrency-cap: { factor: 1.25 } } ]
  pick: { hash-ring: { virtualNodes: 160 } }
  execute: single
`,
  )
})

for (const workers of [1, 3]) {
  const where = workers === 1 ? 'one worker' : 'three workers'

  test(`random, ${where}: all healthy pods are used`, t => {
    const { fleet, serve, perPod } = crew(random(single()), 4, workers)
    fleet.set('ready', 2, 0)
    for (let i = 0; i < 300; i++) serve({})
    const counts = perPod()
    t.is(counts[2], 0)
    for (const slot of [0, 1, 3]) t.true((counts[slot] ?? 0) > 60)
  })

  test(`round-robin, ${where}: exactly even`, t => {
    const { serve, perPod } = crew(roundRobin(single()), 4, workers)
    for (let i = 0; i < 40; i++) serve({})
    t.deepEqual(perPod(), [10, 10, 10, 10])
  })

  test(`least-request, ${where}: never more than one apart, and open breakers are passed by`, t => {
    const { fleet, serve, perPod } = crew(leastRequest(single()), 5, workers)
    fleet.set('breaker', 4, 1)
    const ends: (() => void)[] = []
    const draw = seeded(3)
    for (let i = 0; i < 200; i++) {
      ends.push(serve({}).end)
      const counts = perPod()
      t.is(counts[4], 0)
      if (draw() < 0.4) ends.splice(Math.floor(draw() * ends.length), 1)[0]?.()
    }
    for (let i = 0; i < 40; i++) serve({})
    const counts = perPod().slice(0, 4)
    t.true(Math.max(...counts) - Math.min(...counts) <= 1, String(counts))
  })

  test(`cache-aware, ${where}: to the cached prefix, until that pod is 7 requests behind`, t => {
    const { fleet, serve, perPod } = crew(cacheAware(single()), 4, workers)
    fleet.cached = new Map([[2, 1000]])
    // (1 + 128 · 7) · 1.35 is more than 1,000 · 1.1.
    const slots = Array.from({ length: 11 }, () => serve({ messages: [] }).slot)
    t.deepEqual(slots.slice(0, 7), [2, 2, 2, 2, 2, 2, 2])
    // One each for the others; then the hit wins again.
    t.deepEqual(slots.slice(7, 10).sort(), [0, 1, 3])
    t.is(slots[10], 2)
    t.deepEqual(perPod(), [1, 1, 8, 1])
  })

  test(`session-sticky, ${where}: every session stays on its pod, and sessions spread`, t => {
    const { serve } = crew(sessionSticky(single()), 4, workers)
    const homes = new Map<string, number>()
    const draw = seeded(11)
    let running: (() => void)[] = []
    for (let i = 0; i < 600; i++) {
      const session = `s${Math.floor(draw() * 24)}`
      const { slot, end } = serve({ user: session })
      t.is(slot, homes.get(session) ?? slot, session)
      homes.set(session, slot)
      running.push(end)
      if (running.length > 12) {
        for (const each of running) each()
        running = []
      }
    }
    t.is(new Set(homes.values()).size, 4)
  })

  test(`session-sticky, ${where}: a session leaves a pod that is far behind, and stays where it went`, t => {
    const { fleet, serve } = crew(sessionSticky(single()), 2, workers)
    const first = serve({ user: 'u' })
    first.end()
    fleet.set('inflight', first.slot, 9)
    const stayed = serve({ user: 'u' })
    stayed.end()
    t.is(stayed.slot, first.slot)
    fleet.set('inflight', first.slot, 12)
    const moved = serve({ user: 'u' })
    moved.end()
    t.not(moved.slot, first.slot)
    fleet.set('inflight', first.slot, 0)
    t.is(serve({ user: 'u' }).slot, moved.slot)
  })

  test(`consistent-hash, ${where}: one pod for a key, and the bound holds under a burst of one key`, t => {
    const { fleet, serve, perPod } = crew(consistentHash(single()), 5, workers)
    const home = serve({ user: 'u' })
    home.end()
    for (let i = 0; i < 20; i++) {
      const again = serve({ user: 'u' })
      t.is(again.slot, home.slot)
      again.end()
    }
    for (let total = 1; total <= 60; total++) {
      serve({ user: 'u' })
      t.true(Math.max(...perPod()) <= Math.ceil((1.25 * total) / 5), `${perPod()} at ${total}`)
    }
    t.is(
      perPod().reduce((sum, count) => sum + count, 0),
      60,
    )
    t.is(fleet.get('inflight', home.slot), Math.max(...perPod()))
  })
}
