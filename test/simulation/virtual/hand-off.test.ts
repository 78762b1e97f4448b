/** Prefill on one pod, the answer from another: what holds of every hand-off, and that the executor's own choice is made. */
import test from 'ava'
import fc from 'fast-check'
import type { ExecuteSpec } from '#phyllo/decision/plugin.js'
import { hashBlocks, healthy, matchPrefix, maxScore, tokenize } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { encodePrefillDecode } from '#phyllo/execution/workflows/encode-prefill-decode.js'
import { hedged } from '#phyllo/execution/workflows/hedged.js'
import { sglang } from '#phyllo/execution/workflows/prefill-decode/sglang.js'
import { vllmNixl } from '#phyllo/execution/workflows/prefill-decode/vllm-nixl.js'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { FATE } from '#phyllo/simulation/virtual/recorder.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { runScenario } from '#phyllo/simulation/virtual/simulation.js'
import { Transfers } from '#phyllo/simulation/virtual/transfers.js'
import { conversations, podsLike, scenario } from './kit.js'

const splitBy = (execute: ExecuteSpec<string>) =>
  profile('split')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy())
    .pick(maxScore())
    .execute(execute)

const nixl = (threshold: number | 'adaptive') => splitBy(vllmNixl({ threshold }))
const tight = { ...a10gLlama8b, blocks: 160, maxBatch: 6, maxBatchedTokens: 256 }

const runs = fc.record({
  seed: fc.integer({ min: 0, max: 1000 }),
  prefills: fc.integer({ min: 1, max: 3 }),
  decodes: fc.integer({ min: 1, max: 3 }),
  threshold: fc.constantFrom<(number | 'adaptive')[]>(0, 256, 'adaptive'),
  protocol: fc.constantFrom('nixl', 'sglang'),
  areBoth: fc.boolean(),
  isTight: fc.boolean(),
  eventLagMs: fc.constantFrom(null, 20),
})

test('no answer before its prompt is computed and moved; blocks are freed on both sides', async t => {
  await fc.assert(
    fc.asyncProperty(runs, async run => {
      const parameters = run.isTight ? tight : a10gLlama8b
      const isNixl = run.protocol === 'nixl'
      const connector = isNixl ? 'nixl' : 'sglang'
      const fleet = [
        podsLike(parameters, run.prefills, { role: run.areBoth && isNixl ? 'both' : 'prefill', connector }),
        podsLike(parameters, run.decodes, { role: 'decode', connector }),
      ]
      const workload = conversations(run.seed, { prompts: 3, prefix: 700, turns: 2 }, 15)
      const { recorder, stats } = await runScenario(
        scenario({
          workload,
          fleet,
          seed: run.seed,
          eventLagMs: run.eventLagMs,
          profile: isNixl ? nixl(run.threshold) : splitBy(sglang()),
        }),
      )
      workload.requests.forEach(({ prompt }, at) => {
        if (recorder.fate[at] !== FATE.done) throw new Error(`request ${at}: fate ${recorder.fate[at]}`)
        const moved = recorder.movedTokens[at] ?? 0
        if (moved > prompt.length)
          throw new Error(`request ${at}: ${moved} tokens of ${prompt.length} were moved`)
        if (moved === 0) return
        const wait = (recorder.firstTokenAt[at] ?? 0) - (recorder.arrivedAt[at] ?? 0)
        // The prompt took a step of the prefill pod, then the blocks their time, then the answer a step.
        const least = 2 * parameters.weightReadMs + (recorder.handOffMs[at] ?? 0)
        if (!(wait >= least)) throw new Error(`request ${at}: first token after ${wait} ms of ${least}`)
        const isSame = recorder.prefillPod[at] === recorder.pod[at]
        const travel = moved * parameters.transferMsPerToken + parameters.transferLatencyMs
        if (!isSame && (recorder.handOffMs[at] ?? 0) < travel - 1e-6)
          throw new Error(`request ${at} moved too fast`)
      })
      for (const { usedBlocks, holding, pulling, running, waiting } of stats) {
        if (usedBlocks + holding + pulling + running + waiting !== 0)
          throw new Error('an engine holds something')
      }
    }),
    { numRuns: 25 },
  )
  t.pass()
})

test('the threshold decides as in the executor: up to it straight, above it split', async t => {
  const workload = conversations(3, { groups: 1, prefix: 0, suffix: 400, turns: 1, prompts: 40, spread: 0.5 })
  const fleet = [podsLike(a10gLlama8b, 2, { role: 'prefill' }), podsLike(a10gLlama8b, 2, { role: 'decode' })]
  for (const threshold of [0, 400, 1000]) {
    const { handOffs, pods } = await simulate(scenario({ workload, fleet, profile: nixl(threshold) }))
    const above = workload.requests.filter(({ prompt }) => prompt.length > threshold).length
    t.is(handOffs.requests, above, `threshold ${threshold}`)
    t.deepEqual(
      pods.slice(0, 2).map(({ requests }) => requests),
      [0, 0],
      'prefill pods answer nothing',
    )
  }
})

test('workflows with parts that the simulation lacks are refused by name', async t => {
  for (const execute of [hedged(), encodePrefillDecode({ encode: 'prefill' })]) {
    await t.throwsAsync(simulate(scenario({ profile: splitBy(execute) })), {
      message: /^workflow '[\w-]+' can't be simulated$/,
    })
  }
})

test('equal seeds give equal results, adaptive too', async t => {
  const fleet = [podsLike(a10gLlama8b, 2, { role: 'both' }), podsLike(a10gLlama8b, 2, { role: 'decode' })]
  const run = async () =>
    JSON.stringify({ ...(await simulate(scenario({ fleet, profile: nixl('adaptive') }))), wallMs: 0 })
  t.is(await run(), await run())
})

test('a network card serves one at a time, and a pod’s own blocks need none', t => {
  const network = { transferMsPerToken: 2, transferLatencyMs: 5 }
  const transfers = new Transfers([network, network, network])
  t.is(transfers.begin(0, 1, 10, 100), 125)
  t.is(transfers.begin(2, 1, 10, 100), 145, 'the receiver is taken until 120')
  t.is(transfers.begin(0, 2, 10, 100), 145, 'so is the sender')
  t.is(transfers.begin(1, 1, 10, 100), 100)
})
