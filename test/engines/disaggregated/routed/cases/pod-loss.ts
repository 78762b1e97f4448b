/** Pods that end, at each stage of a request. What had not begun to be answered is answered by those that are left. */
import assert from 'node:assert/strict'
import { APIError } from 'openai'
import { VLLM_MODEL } from '../../../engine.js'
import { until } from '../../../harness.js'
import { assertWhole, COMPLETIONS, completion } from '../../cases/context.js'
import type { Body, Said } from '../../legs.js'
import { NOTICE_MS, type RoutedFleet } from '../fleet.js'
import { assertRight, FALLEN_BACK, inDecode, type RoutedCase, TWO_PODS, whileFrozen } from './context.js'

/** The same prompt streamed and not; two requests, so that both ways are under way at once. */
const bodies = (tag: string): readonly [Body, Body] => [
  completion(`${tag} writes:`),
  completion(`${tag} writes on:`, { stream: true, stream_options: { include_usage: true } }),
]

const sendAll = (fleet: RoutedFleet, all: readonly Body[]): Promise<Said[]> =>
  Promise.all(all.map(body => fleet.send(COMPLETIONS, body)))

/** The answer has begun and nobody knows: the requests are at the prefill engine when it dies. */
async function prefillKilled(fleet: RoutedFleet): Promise<string> {
  const { prefill, decode } = fleet.pair
  const all = bodies('Paul')
  const said = sendAll(fleet, all)
  prefill.process.freeze()
  await fleet.inFlight({ prefill: all.length })
  await prefill.process.kill()
  for (const [i, answer] of (await said).entries()) {
    assertWhole(answer)
    assert.equal(answer.pod, 'decode')
    await assertRight(answer, decode, COMPLETIONS, all[i] ?? {})
    assert.match(await fleet.way(answer.id), FALLEN_BACK)
  }
  // And so for whoever comes meanwhile, whether the router has noticed or not.
  for (let i = 0; i < 4; i++) {
    const later = await fleet.send(COMPLETIONS, completion(`${i} waits for Paul:`))
    assertWhole(later)
    assert.match(await fleet.way(later.id), FALLEN_BACK)
  }
  return `${all.length} under way and 4 later ones by decode alone`
}

async function prefillBack(fleet: RoutedFleet): Promise<string> {
  await fleet.pair.restart('prefill')
  await fleet.inService('prefill')
  const body = completion('Rosa writes:')
  const said = await fleet.send(COMPLETIONS, body)
  assertWhole(said)
  assert.match(await fleet.way(said.id), TWO_PODS)
  await assertRight(said, fleet.pair.prefill, COMPLETIONS, body)
  return `${said.ms} ms for the first hand-off`
}

/**
 * One stream has begun, another request has not: the first ends with an error, the second is done by the spare pod. The
 * engine is stopped in between, so that it can't be done with either before it dies.
 */
async function decodeKilled(fleet: RoutedFleet): Promise<string> {
  const { client, pair } = fleet
  const prompt = String(completion('Sven writes:')['prompt'])
  const story = { model: VLLM_MODEL, prompt, max_tokens: 1_500, ...{ ignore_eos: true } }
  const stream = await client.completions.create({ ...story, stream: true })
  const body = completion('Tina writes:')
  let waiting: Promise<Said> | undefined
  let chunks = 0
  const read = async (): Promise<void> => {
    for await (const _ of stream) {
      if (++chunks !== 5) continue
      pair.decode.process.freeze()
      waiting = fleet.send(COMPLETIONS, body)
      await inDecode(fleet, 'decode', 2)
      await fleet.cordon('spare', false)
      await pair.decode.process.kill()
    }
  }
  const error = await read().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof APIError, `after ${chunks} chunks: ${error ?? 'a clean end'}`)
  assert.equal(error.code, 'pod_closed_early')
  const said = await waiting
  assert.ok(said)
  assertWhole(said)
  assert.equal(said.pod, 'spare')
  await assertRight(said, pair.prefill, COMPLETIONS, body)
  return `the client told after ${chunks} chunks, the other request done by spare`
}

/** A decode pod is left, then none, then one again. */
async function afterwards(fleet: RoutedFleet): Promise<string> {
  const body = completion('Udo writes:')
  const said = await fleet.send(COMPLETIONS, body)
  assertWhole(said)
  assert.equal(said.pod, 'spare')
  await assertRight(said, fleet.pair.prefill, COMPLETIONS, body)
  await fleet.cordon('spare', true)
  await until(NOTICE_MS, 'the router finds decode dead', async () => {
    return (await fleet.status('decode')).healthy === false || undefined
  })
  const none = await fleet.send(COMPLETIONS, completion('Vera writes:'))
  assert.equal(none.status, 503, none.text)
  assert.match(none.text, /"no_pod"/)
  await fleet.cordon('spare', false)
  assertWhole(await fleet.send(COMPLETIONS, completion('Vera writes again:')))
  return 'served by spare; 503 no_pod without it'
}

/** vLLM answers the failed pull with 500, and where it streams with 200 and an error event: neither is the client's. */
async function prefillKilledBeforePull(fleet: RoutedFleet): Promise<string> {
  const { prefill, spare } = fleet.pair
  const all = bodies('Willy')
  const said = await whileFrozen(spare, async () => {
    const answers = sendAll(fleet, all)
    await inDecode(fleet, 'spare', all.length)
    await prefill.process.kill()
    return { answers }
  })
  for (const [i, answer] of (await said.answers).entries()) {
    assertWhole(answer)
    assert.equal(answer.pod, 'spare')
    await assertRight(answer, spare, COMPLETIONS, all[i] ?? {})
    assert.match(await fleet.way(answer.id), FALLEN_BACK)
  }
  return `${all.length} hand-offs lost, their requests served by spare alone`
}

/** In this order: each leaves the engines as the next one needs them. */
export const podLossCases: readonly RoutedCase[] = [
  { name: 'prefill killed while it computes: decode does it alone', run: prefillKilled },
  {
    name: 'prefill back under another engine id: it takes prefills again',
    run: prefillBack,
    timeoutMs: 420_000,
  },
  {
    name: 'decode killed mid-stream: an error event, what had not begun is done by another',
    run: decodeKilled,
  },
  { name: 'while decode is dead: served by another, 503 without one', run: afterwards },
  {
    name: 'prefill killed before the pull: no client sees the failed hand-off',
    run: prefillKilledBeforePull,
  },
]
