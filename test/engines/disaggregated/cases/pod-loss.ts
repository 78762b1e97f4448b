/**
 * Engines that end. Of a prefill engine that the decode engine has met, the loss is known at once: its connections are gone.
 * Of one that it has not met, after 5 s (faults.ts).
 */
import assert from 'node:assert/strict'
import { type Engine, metric } from '../../engine.js'
import { until } from '../../harness.js'
import { decodeLeg, handOffOf } from '../legs.js'
import { alone, assertWhole, COMPLETIONS, type Context, completion, type PairCase } from './context.js'

/** Of the prefill engine after its first restart, and again after its second. */
const LATER_ID = 'prefill-later'

const failedPulls = (engine: Engine): Promise<number> =>
  metric(engine, 'vllm:nixl_num_failed_transfers_total')

/** A vLLM whose core has failed ends its HTTP server within seconds. */
const END_MS = 60_000

async function prefillKilled({ pair }: Context): Promise<string> {
  const body = completion('Uwe writes:')
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  await pair.prefill.process.kill()
  const said = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assert.equal(said.status, 500, said.text)
  const streamed = await decodeLeg(pair.decode, COMPLETIONS, { ...body, stream: true }, handOff)
  assert.equal(streamed.status, 200)
  assert.match(streamed.text, /^data: \{"error"/)
  // As a single pod, it goes on: what a router falls back to.
  assertWhole(await alone(pair.decode, COMPLETIONS, body))
  return `500 after ${said.ms} ms, streamed 200 with an error event after ${streamed.ms} ms`
}

/** The decode engine has not met the new id, so it asks for the layout at that address again. */
async function prefillBack({ pair, send }: Context): Promise<string> {
  await pair.restart('prefill', { engineId: LATER_ID })
  const body = completion('Vera writes:')
  const said = await send(COMPLETIONS, body)
  assertWhole(said)
  assert.equal(said.text, (await alone(pair.prefill, COMPLETIONS, body)).text)
  return `${said.ms} ms for the first hand-off`
}

/**
 * `do_remote_prefill` without blocks fails an assertion of vLLM 0.32's scheduler, which ends the engine. Clients can send
 * that: a router that passes their `kv_transfer_params` on lets any of them stop its decode pods.
 */
async function bareParameters({ pair }: Context): Promise<string> {
  const body = completion('Walt writes:')
  const said = await decodeLeg(pair.decode, COMPLETIONS, body, { do_remote_prefill: true })
  assert.equal(said.status, 500, said.text)
  assert.match(said.text, /EngineCore encountered an issue/)
  await until(END_MS, 'the decode engine ends', () => pair.decode.process.ended)
  return `500 after ${said.ms} ms, then ${pair.decode.process.ended}`
}

/** With `kv_load_failure_policy: recompute`, a pull that fails costs the prefill, not the request. */
async function recomputes({ pair, send }: Context): Promise<string> {
  await pair.restart('decode', { onLoadFailure: 'recompute' })
  assertWhole(await send(COMPLETIONS, completion('Xena writes:')))
  const body = completion('Yves writes:')
  const right = await alone(pair.prefill, COMPLETIONS, body)
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  await pair.prefill.process.kill()
  const said = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(said)
  assert.equal(said.text, right.text)
  return `200 after ${said.ms} ms, the same answer`
}

/**
 * Under the id that it had, the decode engine goes on with what it remembers of the one before, and that fails each time: it
 * forgets an engine after an hour without a try (`engine_ttl`). So prefill engines need a new id at each start, vLLM's
 * default, and a config with a fixed `engine_id` must not be restarted without its decode engines.
 */
async function sameId({ pair, send }: Context): Promise<string> {
  await pair.restart('prefill', { engineId: LATER_ID })
  const before = await failedPulls(pair.decode)
  for (const tag of ['Zora', 'Zeno', 'Zara'])
    assertWhole(await send(COMPLETIONS, completion(`${tag} writes:`)))
  const failed = (await failedPulls(pair.decode)) - before
  assert.equal(failed, 3)
  return 'each of 3 pulls failed, and was recomputed'
}

/** In this order: each leaves the pair as the next one needs it. */
export const podLossCases: readonly PairCase[] = [
  { name: 'the prefill engine killed before the pull fails the decode leg at once', run: prefillKilled },
  { name: 'the prefill engine back under a new id is used again', run: prefillBack, timeoutMs: 420_000 },
  { name: 'do_remote_prefill without blocks ends the decode engine', run: bareParameters },
  {
    name: 'with kv_load_failure_policy recompute, a failed pull costs no request',
    run: recomputes,
    timeoutMs: 420_000,
  },
  { name: 'the prefill engine back under its old id: each pull fails', run: sameId, timeoutMs: 420_000 },
]
