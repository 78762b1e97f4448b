/**
 * The split over the real router and simulated engines that play both roles: what it shows under load, how pods are
 * re-assigned meanwhile without a request noticing, and how that is undone.
 */
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import { chatBody, engineFor, modelDir, post, routerFor, type TestRouter, until, user } from './router-kit.js'

const steps = z.object({ prefill: z.number().nullable(), decode: z.number().nullable() })
const modelSplit = z.object({
  model: z.string(),
  prefill: z.number(),
  decode: z.number(),
  both: z.number(),
  demand: steps,
  pressure: steps,
  recommended: z.object({ ideal: z.number(), prefill: z.number(), decode: z.number() }).nullable(),
  whyNone: z.string().nullable(),
})
const splits = z.object({ reassign: z.boolean(), models: z.array(modelSplit) })
const podsPage = z.object({
  splits,
  pods: z.array(z.looseObject({ id: z.string(), role: z.string(), assigned: z.string().nullable() })),
})

const look = async (router: TestRouter) => {
  const page = podsPage.parse(await (await router.admin('GET', '/pods')).json())
  const assigned = Object.fromEntries(page.pods.map(pod => [pod.id, pod.assigned ?? 'both']))
  return { ...page.splits, split: page.splits.models[0], assigned }
}

const handOffs = z.looseObject({ made: z.number() })
const made = async (engine: RunningEngine): Promise<number> =>
  handOffs.parse(await (await fetch(`${engine.url}/sim/hand-offs`)).json()).made

/**
 * For the looks of a whole window to agree, twice: on a busy machine, where both steps ask for about as many pods now and
 * then, they seldom do.
 */
const PATIENCE_S = 100

let prompts = 0
/** A prompt that no cache knows, of so many words. */
const prompt = (words: number): string => {
  const name = `request ${++prompts}`
  return `${name}: ${Array.from({ length: words }, (_, i) => `leaf${(i * 7919 + prompts) % 1000}`).join(' ')}`
}

/** Sends requests one after the other, on several lanes, until it is told to end; answers what went wrong. */
function load(t: ExecutionContext, router: TestRouter, lanes: number) {
  const faults: string[] = []
  let ended = false
  const lane = async (number: number): Promise<void> => {
    for (let i = 0; !ended; i++) {
      const words = 200 + ((number * 37 + i * 131) % 400)
      const body = { messages: [user(prompt(words))], max_tokens: 30, ignore_eos: true }
      const answer = await post(router, chatBody(body))
      const text = await answer.text()
      if (answer.status !== 200) faults.push(`${answer.status} ${text.slice(0, 300)}`)
    }
  }
  const all = Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)))
  const end = async (): Promise<string[]> => {
    ended = true
    await all
    return faults
  }
  // Also where an assertion fails meanwhile.
  t.teardown(end)
  return end
}

test.serial(
  'engines of role both are divided under load, no request notices, and both comes back when it is switched off',
  async t => {
    const engines = await Promise.all(
      Array.from({ length: 4 }, () =>
        // Caches small enough that a few answers are a load.
        engineFor(t, { kvConnector: 'nixl', kvPort: 0, blocks: 1600, speed: 20, modelDir }),
      ),
    )
    const router = await routerFor(t, 'node', {
      pods: engines.map(({ url }, i) => ({ url, id: `p${i}`, role: 'both' as const })),
      models: [{ name: 'tiny', dir: modelDir }],
      profiles: {
        pd: {
          prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
          filter: ['healthy'],
          score: ['least-load'],
          pick: 'max-score',
          execute: { 'prefill-decode/vllm-nixl': { threshold: 16 } },
        },
      },
      defaults: { profile: 'pd' },
      scrape: { intervalMs: 100, fastMs: 50 },
      disaggregation: { everyMs: 50, windowMs: 1000, reassign: { enabled: true, cooldownMs: 1000 } },
    })
    t.like((await look(router)).split, { model: 'tiny', prefill: 0, decode: 0, both: 4, recommended: null })

    const end = load(t, router, 8)
    await until(
      async () => Object.values((await look(router)).assigned).filter(one => one !== 'both').length >= 2,
      'two pods were assigned',
      PATIENCE_S,
    )
    const { split, assigned } = await look(router)
    t.log(JSON.stringify({ split, assigned }))
    t.true((split?.demand.prefill ?? 0) > 0 && (split?.demand.decode ?? 0) > 0)
    const { recommended } = split ?? {}
    t.is((recommended?.prefill ?? 0) + (recommended?.decode ?? 0), 4)

    // Switched off, all play both again; the requests under way go on.
    const off = splits.parse(await (await router.admin('POST', '/reassign/off')).json())
    t.false(off.reassign)
    t.deepEqual(new Set(Object.values((await look(router)).assigned)), new Set(['both']))
    t.deepEqual(await end(), [])

    let page = ''
    const value = (series: string): number => {
      const line = page.split('\n').find(each => each.startsWith(`${series} `))
      return Number(line?.slice(series.length + 1) ?? Number.NaN)
    }
    // Of the last requests the client hears a moment before the worker counts.
    for (const series of [
      'phyllo_workflow_ways_total{model="tiny",way="split"}',
      'phyllo_step_duration_seconds_count{step="prefill"}',
      'phyllo_step_duration_seconds_count{step="decode"}',
    ]) {
      await until(async () => {
        page = await (await router.admin('GET', '/metrics')).text()
        return value(series) === prompts
      }, `${series} is ${prompts}`)
    }
    t.true(value('phyllo_step_duration_seconds_sum{step="prefill"}') > 0)
    t.false(page.includes('phyllo_step_failures_total{'))
    const changed = ['prefill', 'decode'].map(to =>
      value(`phyllo_reassignments_total{to="${to}",reason="pressure"}`),
    )
    const undone = value('phyllo_reassignments_total{to="both",reason="off"}')
    t.true(undone >= 2 && (changed[0] ?? 0) + (changed[1] ?? 0) >= undone)
    t.is(value('phyllo_both_pods{model="tiny"}'), 4)
  },
)

test.serial(
  'a pod kept to decode makes no hand-offs, and gets prefill steps again when the others are deleted',
  async t => {
    const engines = await Promise.all(
      Array.from({ length: 3 }, () =>
        engineFor(t, { kvConnector: 'nixl', kvPort: 0, blocks: 1600, speed: 20, modelDir }),
      ),
    )
    const router = await routerFor(t, 'node', {
      pods: engines.map(({ url }, i) => ({ url, id: `p${i}`, role: 'both' as const })),
      models: [{ name: 'tiny', dir: modelDir }],
      profiles: {
        pd: {
          prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
          filter: ['healthy'],
          score: ['least-load'],
          pick: 'max-score',
          execute: { 'prefill-decode/vllm-nixl': { threshold: 16 } },
        },
      },
      defaults: { profile: 'pd' },
      scrape: { intervalMs: 100, fastMs: 50 },
      // One change, and no other: the fleet stands still then.
      disaggregation: { everyMs: 50, windowMs: 500, reassign: { enabled: true, cooldownMs: 3_600_000 } },
    })
    const end = load(t, router, 6)
    await until(
      async () => Object.values((await look(router)).assigned).some(one => one !== 'both'),
      'a pod was assigned',
      PATIENCE_S,
    )
    t.deepEqual(await end(), [])
    const { assigned } = await look(router)
    const kept = Object.keys(assigned).filter(id => assigned[id] !== 'both')
    t.is(kept.length, 1)
    const index = Number(kept[0]?.slice(1))
    const engine = engines[index]
    if (engine === undefined) return t.fail()
    const before = await Promise.all(engines.map(made))
    for (let i = 0; i < 12; i++)
      await (await post(router, chatBody({ messages: [user(prompt(100))] }))).text()
    const after = await Promise.all(engines.map(made))
    const grown = after.map((count, i) => count - (before[i] ?? 0))
    t.is(
      grown.reduce((sum, each) => sum + each, 0),
      12,
    )
    if (assigned[`p${index}`] === 'decode') t.is(grown[index], 0)
    else await until(async () => (await router.pod(`p${index}`)).pendingTokens === 0, 'nothing waits there')

    for (const id of ['p0', 'p1', 'p2']) if (!kept.includes(id)) await router.admin('DELETE', `/pods/${id}`)
    await until(
      async () => Object.values((await look(router)).assigned)[0] === 'both',
      'the last pod plays both again',
    )
    const page = await (await router.admin('GET', '/metrics')).text()
    t.true(page.includes('phyllo_reassignments_total{to="both",reason="bounds"} 1'))
    const answer = await post(router, chatBody({ messages: [user(prompt(100))] }))
    t.is(answer.status, 200)
    await answer.text()
  },
)
