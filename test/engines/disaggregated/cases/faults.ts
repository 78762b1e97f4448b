/**
 * What a decode engine answers to a hand-off that it can't use (with `kv_load_failure_policy` as it is by default, `fail`).
 * The status says little: a pull that failed is 500 with `Internal server error`, or, streamed, **200** with that error as
 * an event and `[DONE]` after it. For completions it is the first event; a chat begins with its empty piece that names the
 * role. Nothing has been written then, so a router that holds back the head and that piece can try again, from the
 * prefill on.
 */
import assert from 'node:assert/strict'
import { freePort } from '../../../free-port.js'
import { type Body, decodeLeg, type HandOff, handOffOf, prefillLeg, type Said } from '../legs.js'
import {
  alone,
  assertWhole,
  CHAT,
  COMPLETIONS,
  type Context,
  chat,
  completion,
  type PairCase,
} from './context.js'

/** The decode leg of that prompt, with the hand-off changed. */
async function withChange({ pair }: Context, body: Body, change: HandOff): Promise<Said> {
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  return decodeLeg(pair.decode, COMPLETIONS, body, { ...handOff, ...change })
}

async function wrongEngine(context: Context): Promise<string> {
  // Another engine than the one at that address, as after a restart with vLLM's default of random ids.
  const change = { remote_engine_id: 'nobody' }
  const whole = await withChange(context, completion('Lena writes:'), change)
  assert.equal(whole.status, 500, whole.text)
  assert.match(whole.text, /InternalServerError/)
  const streamed = await withChange(context, completion('Mike writes:', { stream: true }), change)
  assert.equal(streamed.status, 200)
  assert.match(streamed.text, /^data: \{"error".*InternalServerError.*\n\ndata: \[DONE\]\n\n$/)
  assertWhole(await context.send(COMPLETIONS, completion('Nora writes:')))
  return `500 after ${whole.ms} ms, streamed 200 with an error event after ${streamed.ms} ms`
}

async function chatStreamed({ pair }: Context): Promise<undefined> {
  const body = chat('Lars asks:', { stream: true })
  const handOff = await handOffOf(pair, CHAT, body)
  const said = await decodeLeg(pair.decode, CHAT, body, { ...handOff, remote_engine_id: 'nobody' })
  assert.equal(said.status, 200)
  const events = said.text.split('\n\n')
  assert.match(events[0] ?? '', /^data: \{.*"delta":\{"role":"assistant","content":""\}/)
  assert.match(events[1] ?? '', /^data: \{"error"/)
  assert.equal(events[2], 'data: [DONE]')
  return undefined
}

/** An engine that the decode engine has not met: it asks for its layout, and waits 5 s for the answer. Not configurable. */
async function unreachable(context: Context): Promise<string> {
  const change = { remote_engine_id: 'gone', remote_port: await freePort() }
  const said = await withChange(context, completion('Olaf writes:'), change)
  assert.equal(said.status, 500, said.text)
  return `500 after ${said.ms} ms`
}

/** The address counts for the first pull alone, and the id of the request only for what is freed: neither is checked. */
async function notChecked(context: Context): Promise<undefined> {
  const body = completion('Paul writes:')
  const right = await alone(context.pair.prefill, COMPLETIONS, body)
  const said = await withChange(context, body, {
    remote_port: await freePort(),
    remote_request_id: 'cmpl-none',
  })
  assertWhole(said)
  assert.equal(said.text, right.text)
  return undefined
}

/** Prefill judges the request as any engine does; `max_tokens` is the one thing that it does not see. */
async function refused({ pair, send }: Context): Promise<undefined> {
  const bad = chat('Rita asks:', { temperature: -1 })
  const own = await alone(pair.decode, CHAT, bad)
  const said = await send(CHAT, bad)
  assert.equal(said.status, 400)
  assert.equal(said.text, own.text)
  return undefined
}

/**
 * Several prompts or `n` > 1: each is prefilled and held, the hand-off is of one. The others are held for the lease, so
 * such requests take a single pod.
 */
async function batches({ pair }: Context): Promise<undefined> {
  const two = completion('', { prompt: ['Sven writes a letter.', 'Tina writes a letter.'] })
  const { handOff, completionTokens } = await prefillLeg(pair, COMPLETIONS, two)
  assert.equal(completionTokens, 2)
  assert.ok(Array.isArray(handOff?.['remote_block_ids']))
  assert.equal(handOff['remote_block_ids'].flat().length, 1)
  return undefined
}

export const faultCases: readonly PairCase[] = [
  { name: 'a hand-off of another engine fails, streamed with status 200', run: wrongEngine },
  { name: 'a failed pull of a streamed chat: an empty piece, then the error', run: chatStreamed },
  { name: 'a hand-off of an engine that is not there fails after 5 s', run: unreachable },
  { name: 'the id of the request is not checked, the address only at first', run: notChecked },
  { name: 'a bad request is refused by the prefill leg', run: refused },
  { name: 'a batch has one hand-off, of one of its prompts', run: batches },
]
