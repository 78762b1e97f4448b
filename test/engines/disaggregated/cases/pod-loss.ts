/**
 * Engines that end. Of a prefill engine that the decode engine has met, the loss is known at once: its connections are gone.
 * Of one that it has not met, after 5 s (faults.ts).
 */
import assert from 'node:assert/strict'
import { until } from '../../harness.js'
import { decodeLeg, handOffOf } from '../legs.js'
import { alone, assertWhole, COMPLETIONS, type Context, completion, type PairCase } from './context.js'

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

/** Under the same engine id: what the decode engine remembers of it is wrong, and it must find out. */
async function prefillBack({ pair, send }: Context): Promise<string> {
  await pair.restart('prefill')
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

/** In this order: each leaves the pair as the next one needs it. */
export const podLossCases: readonly PairCase[] = [
  { name: 'the prefill engine killed before the pull fails the decode leg at once', run: prefillKilled },
  { name: 'the prefill engine back under its id is used again', run: prefillBack, timeoutMs: 420_000 },
  { name: 'do_remote_prefill without blocks ends the decode engine', run: bareParameters },
  {
    name: 'with kv_load_failure_policy recompute, a failed pull costs no request',
    run: recomputes,
    timeoutMs: 420_000,
  },
]
