/** What holds for every run, whatever the profile, the fleet and the workload. */
import test from 'ava'
import fc from 'fast-check'
import { loadNative } from '#phyllo/data/native.js'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { FATE } from '#phyllo/simulation/virtual/recorder.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { runScenario } from '#phyllo/simulation/virtual/simulation.js'
import { rescaled } from '#phyllo/simulation/virtual/workload.js'
import { conversations, podsLike, profileNamed, scenario } from './kit.js'

const PROFILES = [
  'random',
  'round-robin',
  'least-request',
  'cache-aware',
  'session-sticky',
  'consistent-hash',
]
/** Little room, so that requests wait, are preempted and evict each other. */
const tight = { ...a10gLlama8b, blocks: 120, maxBatch: 6, maxBatchedTokens: 256 }

const runs = fc.record({
  profile: fc.constantFrom(...PROFILES),
  seed: fc.integer({ min: 0, max: 1000 }),
  pods: fc.integer({ min: 1, max: 5 }),
  isTight: fc.boolean(),
  eventLagMs: fc.constantFrom(null, 0, 40, 3000),
  metricAgeMs: fc.constantFrom(0, 700),
  decisionMs: fc.constantFrom(0, 3),
  maxInflight: fc.constantFrom(0, 0, 2),
  prefix: fc.constantFrom(0, 37, 600, 1500),
  turns: fc.integer({ min: 1, max: 4 }),
})

test('every request ends exactly once, in its pod’s time, after what it follows; nothing stays booked', async t => {
  await fc.assert(
    fc.asyncProperty(runs, async run => {
      const workload = conversations(run.seed, { prompts: 3, prefix: run.prefix, turns: run.turns }, 20)
      const fleet = [podsLike(run.isTight ? tight : a10gLlama8b, run.pods, { maxInflight: run.maxInflight })]
      const profile = profileNamed(run.profile)
      let ended = 0
      // `runScenario` itself throws where a request ends twice or never, or stays booked.
      const { recorder, stats } = await runScenario(
        scenario({ ...run, workload, fleet, profile }),
        () => ended++,
      )
      if (ended !== workload.requests.length) throw new Error(`${ended} ends`)
      workload.requests.forEach(({ after, thinkMs, atMs, prompt, outputTokens }, at) => {
        const arrived = recorder.arrivedAt[at] ?? -1
        const end = recorder.endedAt[at] ?? -1
        if (arrived < atMs || end < arrived) throw new Error(`request ${at}: ${atMs}, ${arrived}, ${end}`)
        if (after !== null && arrived < (recorder.endedAt[after] ?? 0) + thinkMs - 1e-6)
          throw new Error(`request ${at} came before the answer that it follows`)
        if (recorder.fate[at] === FATE.tooLong) {
          if (prompt.length + outputTokens <= 120 * 16) throw new Error(`request ${at} would have had room`)
        } else if (recorder.fate[at] === FATE.done) {
          const first = recorder.firstTokenAt[at] ?? -1
          if (first < arrived + run.decisionMs || first > end)
            throw new Error(`request ${at}: first at ${first}`)
          if ((recorder.cachedTokens[at] ?? 0) >= prompt.length) throw new Error(`request ${at}: all cached`)
        } else if (run.maxInflight === 0) throw new Error(`request ${at} was refused`)
      })
      for (const { waiting, running, usedBlocks } of stats) {
        if (waiting + running + usedBlocks !== 0) throw new Error('an engine still holds something')
      }
      return true
    }),
    { numRuns: 60 },
  )
  t.pass()
})

for (const eventLagMs of [null, 30]) {
  test(`the same scenario gives the same result to the last digit (lag ${eventLagMs})`, async t => {
    for (const name of PROFILES) {
      const run = async (seed: number) => {
        const given = scenario({ profile: profileNamed(name), eventLagMs, seed, decisionMs: 1 })
        return JSON.stringify({ ...(await simulate(given)), wallMs: 0 })
      }
      const first = await run(5)
      t.is(await run(5), first, name)
      if (name === 'random') t.not(await run(6), first, 'the seed is what it is random by')
    }
  })
}

test('runs side by side do not know of each other', async t => {
  const alone = JSON.stringify({ ...(await simulate(scenario())), wallMs: 0 })
  const all = await Promise.all([1, 2, 3].map(() => simulate(scenario())))
  for (const one of all) t.is(JSON.stringify({ ...one, wallMs: 0 }), alone)
})

// Before the others, whose states may still be in use.
test.serial('a state is gone after its run', async t => {
  await simulate(scenario())
  const { SharedState } = loadNative()
  for (let number = 0; number < 500; number++) {
    t.throws(() => SharedState.open(`simulation-${number}`), { message: /there is no state/ })
  }
})

test('with events and no lag the router knows what the caches hold: no worse than predicted, where caches are small', async t => {
  const workload = conversations(4, { groups: 6, prompts: 12, prefix: 700, turns: 4 }, 12)
  const fleet = [podsLike({ ...a10gLlama8b, blocks: 500 }, 4)]
  const exact = await simulate(scenario({ workload, fleet, eventLagMs: 0 }))
  const late = await simulate(scenario({ workload, fleet, eventLagMs: 60_000 }))
  t.log(`hit rate ${exact.hitRate.toFixed(3)} at once, ${late.hitRate.toFixed(3)} a minute late`)
  t.true(exact.hitRate > late.hitRate)
})

test('a fleet may be mixed, and an overloaded one refuses what a limit does not let in', async t => {
  const fast = { ...a10gLlama8b, linearMsPerToken: a10gLlama8b.linearMsPerToken / 10, weightReadMs: 5 }
  const fleet = [podsLike(a10gLlama8b, 2, { name: 'slow' }), podsLike(fast, 2, { name: 'fast' })]
  const { pods } = await simulate(scenario({ fleet, profile: profileNamed('least-request') }))
  t.deepEqual(
    pods.map(({ id }) => id),
    ['slow-1', 'slow-2', 'fast-1', 'fast-2'],
  )
  const served = (name: string) =>
    pods.filter(({ id }) => id.startsWith(name)).reduce((sum, { requests }) => sum + requests, 0)
  t.true(served('fast') > served('slow'))

  const workload = rescaled(conversations(2, { turns: 1 }), 100)
  const limited = await simulate(
    scenario({ workload, fleet: [podsLike(a10gLlama8b, 2, { maxInflight: 2 })] }),
  )
  t.true(limited.rejected.overloaded > 0)
  t.is(limited.completed + limited.rejected.overloaded, limited.requests)
  t.true(limited.goodput.fraction <= limited.completed / limited.requests)
})

test('what never fits is refused by the engine, not waited for', async t => {
  const workload = conversations(1, { prefix: 3000 })
  const fleet = [podsLike({ ...a10gLlama8b, blocks: 100 }, 2)]
  const { rejected, requests, completed, ttftMs } = await simulate(scenario({ workload, fleet }))
  t.is(rejected.tooLong, requests)
  t.is(completed, 0)
  t.true(Number.isNaN(ttftMs.mean))
})

test('a fleet needs pods, and has room for 1,024', async t => {
  await t.throwsAsync(simulate(scenario({ fleet: [] })), { message: /needs a pod/ })
  await t.throwsAsync(simulate(scenario({ fleet: [podsLike(a10gLlama8b, 1025)] })), { message: /1,024/ })
})
