/** vLLM's P2pNcclConnector: the request id names both engines, the prefill pushes, the decode waits. */
import { randomUUID } from 'node:crypto'
import test from 'ava'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import { until } from '../kit.js'
import { body, isClean, leg, type Pair, pairFor, textOf } from './kit.js'

const place = ({ kvAddress }: RunningEngine): string => `${kvAddress?.host}:${kvAddress?.port}`

function idOf({ prefill, decode }: Pair): Record<string, string> {
  const uuid = randomUUID().replaceAll('-', '')
  return { 'x-request-id': `___prefill_addr_${place(prefill)}___decode_addr_${place(decode)}_${uuid}` }
}

for (const order of ['prefill first', 'decode first'] as const) {
  test(`the decode says what the prefill would, and computes nothing of the prompt: ${order}`, async t => {
    const pair = await pairFor(t, 'p2p-nccl')
    const [request, headers] = [body(), idOf(pair)]
    const prefilling = () => leg(pair.prefill, { ...request, max_tokens: 1 }, headers)
    const decoding = () => leg(pair.decode, request, headers)
    const later = order === 'decode first' ? decoding() : null
    if (later !== null) await until(() => pair.decode.stats().waiting === 1)
    t.is((await prefilling()).status, 200)
    const answer = await (later ?? decoding())
    t.is(answer.status, 200)
    t.is(pair.decode.stats().remoteTokens, pair.prefill.stats().promptTokens)
    await until(() => pair.prefill.handOffs().pulled === 1)
    t.true(isClean(pair.prefill) && isClean(pair.decode))

    const again = idOf(pair)
    const whole = await leg(pair.prefill, request, again)
    t.is(textOf(answer.json), textOf(whole.json))
  })
}

test('an id without addresses, or with another engine in this one’s place, is refused', async t => {
  const pair = await pairFor(t, 'p2p-nccl')
  const own = idOf(pair)['x-request-id'] ?? ''
  const swapped = idOf({ prefill: pair.decode, decode: pair.prefill })['x-request-id'] ?? ''
  for (const engine of [pair.prefill, pair.decode]) {
    for (const id of ['', 'plain', own.replace('___decode_addr_', ''), swapped]) {
      const answer = await leg(engine, body(), id === '' ? {} : { 'x-request-id': id })
      t.is(answer.status, 400, id)
      t.regex(answer.message, /X-Request-Id/)
    }
    t.is(engine.handOffs().rejected, 4)
  }
})

test('a decode whose prefill never comes, or came under another id, is refused after its time', async t => {
  const pair = await pairFor(t, 'p2p-nccl', { kvTimeout: 0.2 })
  const [request, headers] = [body(), idOf(pair)]
  await leg(pair.prefill, { ...request, max_tokens: 1 }, idOf(pair))
  const other = await leg(pair.decode, request, headers)
  t.is(other.status, 500)
  t.regex(other.message, /did not come within 0.2 s/)
  t.like(pair.decode.handOffs(), { received: 0, rejected: 1 })
})

test('a push for another prompt, or one that was used, is refused', async t => {
  const pair = await pairFor(t, 'p2p-nccl')
  const [request, headers] = [body(), idOf(pair)]
  await leg(pair.prefill, { ...request, max_tokens: 1 }, headers)
  await until(() => pair.prefill.handOffs().pulled === 1)
  t.regex((await leg(pair.decode, body(), headers)).message, /another prompt/)
  t.is((await leg(pair.decode, request, headers)).status, 200)
  const twice = await leg(pair.decode, request, headers)
  t.is(twice.status, 500)
  t.regex(twice.message, /was used before/)
})

test('a prefill whose decode engine is gone answers all the same, and keeps no blocks', async t => {
  const pair = await pairFor(t, 'p2p-nccl')
  const headers = idOf(pair)
  await pair.decode.close()
  t.is((await leg(pair.prefill, { ...body(), max_tokens: 1 }, headers)).status, 200)
  await until(() => pair.prefill.handOffs().abandoned === 1)
  t.true(isClean(pair.prefill))
})
