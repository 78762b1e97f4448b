/** vLLM's MooncakeConnector: the bootstrap server's answer, transfers by id, in any order. */
import { randomUUID } from 'node:crypto'
import test from 'ava'
import { at, engineFor, until } from '../kit.js'
import { body, isClean, leg, type Pair, pairFor, textOf } from './kit.js'

const bootstrapOf = ({ prefill }: Pair): string =>
  `http://${prefill.kvAddress?.host}:${prefill.kvAddress?.port}`

async function engineIdOf(pair: Pair): Promise<string> {
  const answer = await fetch(`${bootstrapOf(pair)}/query`)
  return String(at(await answer.json(), '0', 'engine_id'))
}

const prefillParams = (transfer_id: string) => ({
  do_remote_decode: true,
  do_remote_prefill: false,
  transfer_id,
})

const decodeParams = async (pair: Pair, transfer_id: string) => ({
  do_remote_decode: false,
  do_remote_prefill: true,
  transfer_id,
  remote_bootstrap_addr: bootstrapOf(pair),
  remote_engine_id: await engineIdOf(pair),
})

const transfer = (): string => `xfer-${randomUUID()}`

for (const order of ['prefill first', 'decode first'] as const) {
  test(`a transfer is matched by its id: ${order}`, async t => {
    const pair = await pairFor(t, 'mooncake')
    t.is(await engineIdOf(pair), pair.prefill.engineId)
    const [request, id] = [body(), transfer()]
    const decoding = async () =>
      leg(pair.decode, { ...request, kv_transfer_params: await decodeParams(pair, id) })
    const later = order === 'decode first' ? decoding() : null
    if (later !== null) await until(() => pair.decode.stats().waiting === 1)
    const first = await leg(pair.prefill, {
      ...request,
      max_tokens: 1,
      kv_transfer_params: prefillParams(id),
    })
    t.is(first.status, 200)
    t.is(at(first.json, 'kv_transfer_params'), null)
    const answer = await (later ?? decoding())
    t.is(answer.status, 200)
    t.is(textOf(answer.json), textOf((await leg(pair.prefill, request)).json))
    t.is(pair.decode.stats().remoteTokens, Number(at(answer.json, 'usage', 'prompt_tokens')))
    t.like(pair.prefill.handOffs(), { made: 1, pulled: 1, live: 0 })
    t.true(isClean(pair.prefill) && isClean(pair.decode))
  })
}

test('a transfer that nobody makes is refused after its time, one used before at once', async t => {
  const pair = await pairFor(t, 'mooncake')
  const hasty = await engineFor(t, { role: 'decode', kvConnector: 'mooncake', kvTimeout: 0.2 })
  const [request, id] = [body(), transfer()]
  const decoding = async (transfer_id: string, fields: object = {}) =>
    leg(pair.decode, {
      ...request,
      kv_transfer_params: { ...(await decodeParams(pair, transfer_id)), ...fields },
    })
  const unknown = await leg(hasty, { ...request, kv_transfer_params: await decodeParams(pair, transfer()) })
  t.is(unknown.status, 500)
  t.regex(unknown.message, /did not come within 0.2 s/)
  const foreign = await decoding(id, { remote_engine_id: 'somebody' })
  t.is(foreign.status, 500)
  t.regex(foreign.message, /not found from bootstrap server/)
  t.is((await decoding(id, { remote_bootstrap_addr: 'http://127.0.0.1:1' })).status, 500)
  t.is((await decoding(id, { remote_bootstrap_addr: undefined })).status, 400)
  t.is((await decoding('')).status, 400)

  const make = () => leg(pair.prefill, { ...request, max_tokens: 1, kv_transfer_params: prefillParams(id) })
  t.is((await make()).status, 200)
  t.is((await decoding(id)).status, 200)
  const twice = await decoding(id)
  t.is(twice.status, 500)
  t.regex(twice.message, /was used before/)
  const again = await make()
  t.is(again.status, 400)
  t.regex(again.message, /was used before/)
  t.true(isClean(pair.prefill) && isClean(pair.decode))
})

test('blocks that nobody pulls are freed after their time; a prefill that is no prefill offers none', async t => {
  const pair = await pairFor(t, 'mooncake', { answerTokens: 4 }, { prefill: { kvTimeout: 0.1 } })
  const request = body()
  await leg(pair.prefill, { ...request, max_tokens: 1, kv_transfer_params: prefillParams(transfer()) })
  await until(() => pair.prefill.handOffs().expired === 1)
  const id = transfer()
  // Ends by itself, not for its length.
  const whole = { ...request, max_tokens: 100, kv_transfer_params: prefillParams(id) }
  t.is(at((await leg(pair.prefill, whole)).json, 'choices', 0, 'finish_reason'), 'stop')
  const late = await leg(pair.decode, { ...request, kv_transfer_params: await decodeParams(pair, id) })
  t.is(late.status, 500)
  t.regex(late.message, /ended before its length/)
  t.true(isClean(pair.prefill))
})

test('a prefill that is aborted tells the decode that waits for it', async t => {
  const pair = await pairFor(t, 'mooncake', {}, { prefill: { speed: 1 } })
  const [request, id] = [body({ max_tokens: 500, ignore_eos: true }), transfer()]
  const away = new AbortController()
  const prefilling = fetch(`${pair.prefill.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ ...request, kv_transfer_params: prefillParams(id) }),
    signal: away.signal,
  })
  const decoding = leg(pair.decode, { ...request, kv_transfer_params: await decodeParams(pair, id) })
  await until(() => pair.prefill.stats().running === 1 && pair.decode.stats().waiting === 1)
  away.abort()
  await t.throwsAsync(prefilling, { any: true })
  const answer = await decoding
  t.is(answer.status, 500)
  t.regex(answer.message, /aborted/)
  await until(() => isClean(pair.prefill) && isClean(pair.decode))
})
