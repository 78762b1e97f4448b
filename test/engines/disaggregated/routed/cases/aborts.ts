/** A client that goes away, at each stage: no engine goes on for it, and neither holds blocks for it. */
import assert from 'node:assert/strict'
import { type Engine, VLLM_MODEL } from '../../../engine.js'
import { assertWhole, COMPLETIONS, completion } from '../../cases/context.js'
import type { RoutedFleet } from '../fleet.js'
import { finished, idle, inDecode, type RoutedCase, whileFrozen } from './context.js'

/** Far longer than the abort takes to be seen. */
const long = (tag: string, more: object = {}) =>
  completion(tag, { max_tokens: 1_500, ignore_eos: true, stream: true, ...more })

const aborted = (fleet: RoutedFleet, tag: string, abort: AbortController): Promise<void> =>
  assert.rejects(fleet.send(COMPLETIONS, long(tag), abort.signal), { name: 'AbortError' })

/** Nothing under way, nothing held, nothing booked, and the next request is served as ever. */
async function allFree(fleet: RoutedFleet, tag: string): Promise<void> {
  await fleet.inFlight({ prefill: 0, decode: 0, spare: 0 })
  await idle(fleet.pair.prefill)
  await idle(fleet.pair.decode)
  assertWhole(await fleet.send(COMPLETIONS, completion(tag)))
}

/** The engine wakes up to a connection that is gone. */
async function whileWaitingFor(
  fleet: RoutedFleet,
  engine: Engine,
  reached: () => Promise<void>,
  tag: string,
): Promise<void> {
  await whileFrozen(engine, async () => {
    const abort = new AbortController()
    const gone = aborted(fleet, tag, abort)
    await reached()
    abort.abort()
    await gone
    await fleet.inFlight({ prefill: 0, decode: 0 })
  })
}

async function duringPrefill(fleet: RoutedFleet): Promise<undefined> {
  const { prefill, decode } = fleet.pair
  const before = await finished(decode)
  await whileWaitingFor(fleet, prefill, () => fleet.inFlight({ prefill: 1 }), 'Lars writes:')
  assert.equal(await finished(decode), before, 'decode has had nothing of it')
  await allFree(fleet, 'After Lars:')
  return undefined
}

async function beforeDecode(fleet: RoutedFleet): Promise<undefined> {
  await whileWaitingFor(fleet, fleet.pair.decode, () => inDecode(fleet, 'decode', 1), 'Maja writes:')
  await allFree(fleet, 'After Maja:')
  return undefined
}

async function whileStreaming(fleet: RoutedFleet): Promise<string> {
  const ask = { model: VLLM_MODEL, prompt: String(long('Nils writes:')['prompt']), max_tokens: 1_500 }
  const stream = await fleet.client.completions.create({ ...ask, ...{ ignore_eos: true }, stream: true })
  let chunks = 0
  for await (const _ of stream) {
    if (++chunks < 5) continue
    assert.equal((await fleet.status('decode')).inflight, 1)
    stream.controller.abort()
    break
  }
  await allFree(fleet, 'After Nils:')
  return `after ${chunks} chunks`
}

export const abortCases: readonly RoutedCase[] = [
  { name: 'a client that goes away during the prefill frees both pods', run: duringPrefill },
  { name: 'a client that goes away before decode has begun frees both pods', run: beforeDecode },
  {
    name: 'a client that goes away while decode writes frees both pods',
    run: whileStreaming,
  },
]
