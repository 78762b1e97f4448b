/** Profiles that do what other routers do, each with one worker and with three that share a fleet. */
import test from 'ava'
import fc from 'fast-check'
import type { FIELDS } from '#phyllo/data/native.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { crew } from './crew.js'
import { single } from './helpers.js'

type Body = Partial<Record<(typeof FIELDS)[number], unknown>>

/** A shipped profile by name, on so many pods. */
function peer(name: string, pods: number, workers: number) {
  const [profile] = shippedProfiles(single()).filter(each => each.name === name)
  if (profile === undefined) throw new Error(`no profile '${name}'`)
  return crew(profile, pods, workers)
}

/** Pods of requests that are over before the next one comes. */
const one = (
  team: ReturnType<typeof peer>,
  body: Body = { messages: [] },
  headers: readonly string[] = [],
) => {
  const { slot, end } = team.serve(body, headers)
  end()
  return slot
}
const many = (team: ReturnType<typeof peer>, count: number, body?: Body): Set<number> =>
  new Set(Array.from({ length: count }, () => one(team, body)))
const user = (content: string) => ({ messages: [{ role: 'user', content }] })
const followUp = {
  messages: [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
    { role: 'user', content: 'c' },
  ],
}

for (const workers of [1, 3]) {
  const where = workers === 1 ? 'one worker' : 'three workers'

  test(`power-of-two, ${where}: never the busiest pod, and all others`, t => {
    const team = peer('power-of-two', 5, workers)
    team.fleet.setAll('inflight', [3, 2, 1, 9, 0])
    t.deepEqual([...many(team, 300)].sort(), [0, 1, 2, 4])
  })

  test(`sglang-cache-aware, ${where}: least load if out of balance, else the best match, else free cache`, t => {
    const team = peer('sglang-cache-aware', 4, workers)
    const { fleet } = team
    for (const [slot, held] of [900, 500, 100, 700].entries()) fleet.caches.set(slot, { held, room: 1000 })
    fleet.cached = new Map([
      [0, 400],
      [1, 310],
    ])
    t.deepEqual([...many(team, 20)], [0])
    fleet.cached = new Map([[0, 290]])
    t.deepEqual([...many(team, 20)], [2], 'below 0.3 of the prompt')
    fleet.cached = new Map([[0, 1000]])
    fleet.setAll('inflight', [64, 0, 10, 20])
    t.deepEqual([...many(team, 20)], [0], 'a difference of 64 is not over 64')
    fleet.setAll('inflight', [65, 0, 10, 20])
    t.deepEqual([...many(team, 20)], [1])
    fleet.setAll('inflight', [270, 200, 210, 220])
    t.deepEqual([...many(team, 20)], [0], 'over 64, but not 1.5 times')
    fleet.setAll('inflight', [301, 200, 210, 220])
    t.deepEqual([...many(team, 20)], [1])
  })

  test(`prefix-hash, ${where}: the home of a prefix, the least loaded pod while that has over 1.25 times the mean`, t => {
    const team = peer('prefix-hash', 4, workers)
    const [home = -1, ...more] = many(team, 20)
    t.deepEqual(more, [])
    const others = [0, 1, 2, 3].filter(slot => slot !== home)
    for (const [i, slot] of others.entries()) team.fleet.set('inflight', slot, 4 + i)
    // 1.25 · (4 + 5 + 6 + home + 1) / 4: over the bound from 8 on.
    team.fleet.set('inflight', home, 7)
    t.deepEqual([...many(team, 20)], [home])
    team.fleet.set('inflight', home, 8)
    t.deepEqual([...many(team, 20)], [others[0] ?? -1])
  })

  test(`chwbl, ${where}: by the user's first words, whatever the system says, and bounded`, t => {
    const team = peer('chwbl', 6, workers)
    const said = (system: string, text: string) => ({
      messages: [
        { role: 'system', content: system },
        { role: 'user', content: text },
      ],
    })
    const long = 'x'.repeat(100)
    const home = one(team, said('be kind', `${long} one`))
    t.is(one(team, said('be brief', `${long} two`)), home, 'the first hundred characters are the same')
    const homes = new Set(Array.from({ length: 60 }, (_, i) => one(team, said('be kind', `${i} ${long}`))))
    t.is(homes.size, 6)
    for (let total = 1; total <= 48; total++) {
      team.serve(said('s', long))
      t.true(Math.max(...team.perPod()) <= Math.ceil((1.25 * total) / 6))
    }
  })

  test(`vllm-consistent-hash, ${where}: the first of its keys decides, in its order`, t => {
    const team = peer('vllm-consistent-hash', 8, workers)
    const order = [
      'x-session-id',
      'x-user-id',
      'x-tenant-id',
      'x-request-id',
      'x-correlation-id',
      'x-trace-id',
    ]
    const homes = Array.from({ length: 40 }, (_, i) => one(team, {}, ['x-session-id', `${i}`]))
    t.is(new Set(homes).size, 8)
    for (const [at, name] of order.entries()) {
      const later = order.slice(at + 1).flatMap((other, i) => [other, `other ${i}`])
      const body = { session_params: { session_id: 'p' }, user: 'u', session_id: 's', user_id: 'i' }
      t.is(one(team, body, [...later, name, '7']), homes[7] ?? -1, name)
    }
    const bodies = [
      { session_params: { session_id: '7' }, user: 'u' },
      { user: '7', session_id: 's' },
      { session_id: '7', user_id: 'i' },
      { user_id: '7' },
    ]
    for (const body of bodies) t.is(one(team, body), homes[7] ?? -1)
    const same = many(team, 10, user('the same body'))
    t.is(same.size, 1)
    t.is(new Set(Array.from({ length: 60 }, (_, i) => one(team, user(`body ${i}`)))).size, 8)
  })

  test(`aibrix-prefix-cache, ${where}: the best match within a deviation of the mean, else the least load`, t => {
    const team = peer('aibrix-prefix-cache', 4, workers)
    const { fleet } = team
    fleet.cached = new Map([
      [0, 800],
      [1, 100],
    ])
    fleet.setAll('inflight', [4, 2, 3, 1])
    // Mean 2.5, deviation 1.12: pod 0 is beyond.
    t.deepEqual([...many(team, 20)], [1])
    fleet.setAll('inflight', [3, 2, 3, 2])
    t.deepEqual([...many(team, 20)], [0], 'exactly at the bound')
    fleet.setAll('inflight', [9, 8, 3, 0])
    t.deepEqual([...many(team, 20)], [3], 'a difference of more than 8')
    fleet.cached = new Map()
    fleet.setAll('inflight', [3, 2, 3, 2])
    t.deepEqual([...many(team, 60)].sort(), [1, 3])
  })

  test(`llm-d, ${where}: queue 2, KV use 2, prefix 3, cold requests in turn 2`, t => {
    const team = peer('llm-d', 4, workers)
    const { fleet } = team
    const turns = Array.from({ length: 12 }, () => one(team))
    for (let i = 0; i < 12; i += 4)
      t.deepEqual(turns.slice(i, i + 4).sort(), [0, 1, 2, 3], 'each once, before any twice')
    t.deepEqual(turns.slice(4, 8), turns.slice(0, 4))
    fleet.cached = new Map([[2, 1000]])
    t.deepEqual([...many(team, 20)], [2])
    fleet.set('waiting', 2, 5)
    t.deepEqual([...many(team, 20)], [2], '3 for the prefix against 2 for the queue')
    fleet.set('kvUse', 2, 0.6)
    t.false(many(team, 20).has(2), '… and 1.2 for the use')
  })

  test(`affinity-gate, ${where}: to where 0.8 is cached, unless 5 s are lost by it`, t => {
    const team = peer('affinity-gate', 4, workers)
    const { fleet } = team
    fleet.cached = new Map([[1, 800]])
    fleet.setAll('pendingTokens', [0, 70_000, 0, 0])
    const slots = Array.from({ length: 300 }, () => one(team))
    // 70,000 tokens at 15,928 a second are 4.4 s. One in a hundred explores.
    t.true(slots.filter(slot => slot === 1).length > 280)
    fleet.setAll('pendingTokens', [0, 90_000, 0, 0])
    t.false(many(team, 50).has(1))
    fleet.cached = new Map([[1, 799]])
    fleet.setAll('pendingTokens', [0, 1000, 1000, 1000])
    t.deepEqual([...many(team, 50)], [0], 'not enough of it')
  })

  test(`dynamo, ${where}: blocks to prefill and active blocks weigh alike`, t => {
    const team = peer('dynamo', 3, workers)
    const { fleet } = team
    fleet.setAll('activeTokens', [800, 320, 480])
    t.deepEqual([...many(team, 10)], [1])
    // 40 blocks less to prefill on pod 0, against 30 more that are active.
    fleet.cached = new Map([[0, 640]])
    t.deepEqual([...many(team, 10)], [0])
    fleet.set('pendingTokens', 0, 176)
    t.deepEqual([...many(team, 10)], [1], 'eleven queued blocks turn it')
  })

  test(`dynamo, ${where}: the pod of the least cost, by its own formula`, t => {
    const pod = fc.record({
      active: fc.nat(20_000),
      queued: fc.nat(20_000),
      cached: fc.nat(2_000),
      foreign: fc.nat(3),
    })
    const pods = fc.array(pod, { minLength: 2, maxLength: 5 })
    fc.assert(
      fc.property(pods, fc.constantFrom(1, 16, 64, undefined), fc.nat(2_000), (pods, blockSize, length) => {
        const team = peer('dynamo', pods.length, workers)
        const { fleet } = team
        fleet.promptTokens = length
        for (const [slot, { active, queued, cached, foreign }] of pods.entries()) {
          fleet.set('activeTokens', slot, active)
          fleet.set('pendingTokens', slot, queued)
          fleet.set('requests', slot, foreign)
          fleet.cached.set(slot, cached)
          if (blockSize !== undefined) fleet.caches.set(slot, { held: 0, room: 1000, blockSize })
        }
        // Others' requests count 1,000 tokens; of a whole hit one token is computed all the same.
        const costs = pods.map(({ active, queued, cached, foreign }) => {
          const potentialPrefill = queued + Math.max(length - cached, 1)
          const potentialActive = active + 1000 * foreign + length
          return (potentialPrefill + potentialActive) / (blockSize ?? 16)
        })
        const cost = costs[one(team)] ?? Number.NaN
        return cost <= Math.min(...costs) + 1e-6
      }),
      { numRuns: 50 },
    )
    t.pass()
  })

  test(`lmetric, ${where}: queued tokens count, requests multiply, and ties take turns`, t => {
    const team = peer('lmetric', 4, workers)
    const { fleet } = team
    const turns = Array.from({ length: 8 }, () => one(team))
    t.deepEqual(turns, [0, 1, 2, 3, 0, 1, 2, 3])
    fleet.cached = new Map([[2, 900]])
    t.deepEqual([...many(team, 10)], [2])
    fleet.set('pendingTokens', 2, 800)
    t.deepEqual([...many(team, 10)], [2], '800 + 100 < 1000')
    fleet.set('pendingTokens', 2, 901)
    t.false(many(team, 10).has(2))
    fleet.set('pendingTokens', 2, 100)
    fleet.setAll('inflight', [1, 1, 8, 1])
    t.deepEqual([...many(team, 10)], [2], '200 · 9 < 1000 · 2')
    fleet.set('inflight', 2, 10)
    t.false(many(team, 10).has(2))
  })

  test(`smetric, ${where}: a conversation that goes on stays, unless it would be late there and elsewhere not`, t => {
    const team = peer('smetric', 3, workers)
    const { fleet } = team
    fleet.cached = new Map([[1, 500]])
    fleet.setAll('inflight', [0, 5, 0])
    t.false(many(team, 10, user('a')).has(1), 'a first turn: 500 · 6 > 1000')
    t.deepEqual([...many(team, 10, followUp)], [1])
    // 600 ms are the limit: 9,556 tokens.
    fleet.set('pendingTokens', 1, 9_000)
    t.deepEqual([...many(team, 10, followUp)], [1])
    fleet.set('pendingTokens', 1, 10_000)
    t.false(many(team, 10, followUp).has(1))
    fleet.setAll('pendingTokens', [20_000, 10_000, 20_000])
    t.deepEqual([...many(team, 10, followUp)], [1], 'late everywhere')
    fleet.setAll('pendingTokens', [0, 0, 0])
    fleet.cached = new Map([[1, 99]])
    t.false(many(team, 10, followUp).has(1), 'too little of it cached')
  })

  test(`dualmap, ${where}: two homes, of which the better one gets it`, t => {
    const team = peer('dualmap', 16, workers)
    const { fleet } = team
    const homes = [...many(team, 40)]
    t.is(homes.length, 2)
    const [first = -1, second = -1] = homes
    fleet.set('pendingTokens', first, 500)
    t.deepEqual([...many(team, 10)], [second])
    fleet.set('ready', second, 0)
    const [next = -1, ...more] = [...many(team, 10)].filter(slot => slot !== first)
    t.true(next !== second && more.length === 0, 'its place on the ring goes to the pod behind it')
  })
}
