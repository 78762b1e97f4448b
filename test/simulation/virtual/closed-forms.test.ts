/** Queueing theory knows some answers exactly; the simulator must give them within the error of its own samples. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { filter, noOptions } from '#phyllo/decision/factories.js'
import { roundRobin } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import { stepMs } from '#phyllo/simulation/engine/step-time.js'
import { exponential } from '#phyllo/simulation/traces/draws.js'
import { linesOf, readTrace } from '#phyllo/simulation/traces/lines.js'
import { mooncakeWorkload } from '#phyllo/simulation/traces/mooncake.js'
import { idealHitRate } from '#phyllo/simulation/virtual/ideal.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { runScenario } from '#phyllo/simulation/virtual/simulation.js'
import { SpanPrompt } from '#phyllo/simulation/virtual/span-prompt.js'
import type { VirtualRequest } from '#phyllo/simulation/virtual/workload.js'
import { podsLike, profileNamed, scenario } from './kit.js'

const PROMPT = 160
/** With one pod there is nothing to decide, and the least to compute for it. */
const onePod = profileNamed('round-robin')
const oneByOne = { ...a10gLlama8b, maxBatch: 1 }
const service = stepMs([{ tokens: PROMPT, context: 0 }], oneByOne)

/** Requests of one kind that nothing is shared between, at random times: M/D/1 where one pod serves one at a time. */
function poisson(count: number, utilisation: number, seed: number): VirtualRequest[] {
  const random = seededRandom(seed)
  let now = 0
  return Array.from({ length: count }, (_, id) => {
    now += exponential(random, service / utilisation)
    const prompt = new SpanPrompt([{ id: 2 * id, tokens: PROMPT }], { id: 2 * id + 1, tokens: 1 })
    return { atMs: now, after: null, thinkMs: 0, session: null, prompt, outputTokens: 1 }
  })
}

/** Mean and its standard error, by means of 30 batches: neighbours in a queue are not independent, batches nearly are. */
function batchMeans(samples: readonly number[]): { mean: number; error: number } {
  const batches = 30
  const size = Math.floor(samples.length / batches)
  const mean = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0) / of.length
  const means = Array.from({ length: batches }, (_, at) => mean(samples.slice(at * size, (at + 1) * size)))
  const all = mean(means)
  const variance = means.reduce((sum, one) => sum + (one - all) ** 2, 0) / (batches - 1)
  return { mean: all, error: Math.sqrt(variance / batches) }
}

for (const utilisation of [0.3, 0.6, 0.8]) {
  test(`M/D/1 at ${utilisation}: the mean wait is ρ·s / 2(1−ρ)`, async t => {
    const workload = { name: 'poisson', requests: poisson(20_000, utilisation, 7), modelDir: null }
    const { recorder } = await runScenario(
      scenario({ workload, fleet: [podsLike(oneByOne, 1)], profile: onePod }),
    )
    const waits = workload.requests.map((_, at) => {
      const { firstTokenAt, arrivedAt } = recorder
      return (firstTokenAt[at] ?? 0) - (arrivedAt[at] ?? 0) - service
    })
    const { mean, error } = batchMeans(waits)
    const expected = (utilisation * service) / (2 * (1 - utilisation))
    t.log(`${mean.toFixed(2)} ± ${error.toFixed(2)} ms, ${expected.toFixed(2)} expected`)
    t.true(Math.abs(mean - expected) < 4 * error, `${mean} ± ${error} against ${expected}`)
    // The test says something only if its error is small.
    t.true(error < 0.08 * expected)
  })
}

test('Little: what arrivals find booked on the fleet is arrival rate × time in the system', async t => {
  // Poisson arrivals see the averages of time (PASTA), and what they see is the native state's own count.
  const found: number[] = []
  const watch = filter({
    name: 'watch-inflight',
    summary: 'Notes how many requests are in flight.',
    options: noOptions,
    build: (_, env) => (_ctx, pods) => {
      let sum = 0
      for (let i = 0; i < pods.length; i++) sum += env.lane.inflight[pods.slots[i] ?? 0] ?? 0
      found.push(sum)
    },
  })
  const watching = profile('watching').filter(watch()).pick(roundRobin()).execute(single())
  const workload = { name: 'poisson', requests: poisson(20_000, 2.1, 3), modelDir: null }
  const fleet = [podsLike(oneByOne, 3)]
  const { recorder } = await runScenario(scenario({ workload, fleet, profile: watching }))
  const { arrivedAt, endedAt } = recorder
  const inSystem = workload.requests.map((_, at) => (endedAt[at] ?? 0) - (arrivedAt[at] ?? 0))
  const rate = workload.requests.length / ((arrivedAt.at(-1) ?? 0) - (arrivedAt[0] ?? 0))
  const seen = batchMeans(found)
  const law = batchMeans(inSystem)
  t.log(`found ${seen.mean.toFixed(3)} ± ${seen.error.toFixed(3)}, λW ${(rate * law.mean).toFixed(3)}`)
  t.true(Math.abs(seen.mean - rate * law.mean) < 4 * (seen.error + rate * law.error))
  t.true(seen.error < 0.08 * seen.mean)
})

const traceFile = new URL('../../../../bench/data/mooncake_conversation_trace.jsonl.zst', import.meta.url)
const trace = readTrace(traceFile.pathname)

test('the Mooncake conversation trace: 0.366 of its blocks were there before', t => {
  // Counted as the trace's authors count: each id once, the last and partial block of a prompt included.
  const seen = new Set<number>()
  let hits = 0
  let blocks = 0
  for (const { text } of linesOf(trace)) {
    const { hash_ids: ids }: { hash_ids: number[] } = JSON.parse(text)
    const miss = ids.findIndex(id => !seen.has(id))
    hits += miss < 0 ? ids.length : miss
    blocks += ids.length
    for (const id of ids) seen.add(id)
  }
  t.is((hits / blocks).toFixed(3), '0.366')
})

test('the Mooncake conversation trace: one endless cache finds just what there is to find', async t => {
  const whole = mooncakeWorkload('mooncake', trace, Number.POSITIVE_INFINITY)
  t.is(whole.requests.length, 12_031)
  // One at a time and at their recorded times: each request finds all those before it answered.
  const requests = whole.requests.map(request => ({ ...request, after: null, outputTokens: 1 }))
  const workload = { ...whole, requests }
  const endless = {
    ...a10gLlama8b,
    blockSize: 512,
    blocks: 400_000,
    maxBatch: 1,
    maxBatchedTokens: 1_000_000,
  }
  const { hitRate, completed } = await simulate(
    scenario({ workload, fleet: [podsLike(endless, 1)], profile: onePod }),
  )
  t.is(completed, 12_031)
  const ideal = idealHitRate(workload, 512)
  t.true(Math.abs(hitRate - ideal) < 1e-9, `${hitRate} against ${ideal}`)
  // In tokens, where a partial block weighs what it holds; no whole block is ever missed for it.
  t.is(ideal.toFixed(3), '0.373')
})

test('the committed trace is the published one, by its size', t => {
  t.true(readFileSync(traceFile).length > 300_000)
})
