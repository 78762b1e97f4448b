/** What the routed cases share. */
import assert from 'node:assert/strict'
import { type Engine, metric } from '../../../engine.js'
import { type Case, until } from '../../../harness.js'
import { alone, heldBlocks } from '../../cases/context.js'
import type { Body, Path, Said } from '../../legs.js'
import { NOTICE_MS, type RoutedFleet, THRESHOLD } from '../fleet.js'

export type RoutedCase = Case<RoutedFleet>

/** What the decision log says of a request that was split, and of one that is not worth it. */
export const TWO_PODS = /^prefill-decode\/vllm-nixl: \d+ uncached tokens on decode$/
export const STRAIGHT = new RegExp(
  `^whole: \\d+ uncached tokens, and up to ${THRESHOLD} are computed where they are decoded$`,
)
/** … and where there is no prefill pod to go to. */
export const FALLEN_BACK = /^whole: prefill-decode\/vllm-nixl: a step has no pod to go to$/

/** Requests that an engine has written to their end. */
export const finished = (engine: Engine): Promise<number> => metric(engine, 'vllm:request_success_total')

/** Waits until an engine neither runs anything nor holds blocks for anybody. */
export async function idle(engine: Engine): Promise<void> {
  await until(NOTICE_MS, `${engine.name} is idle`, async () => {
    const running = await metric(engine, 'vllm:num_requests_running')
    return (running === 0 && (await heldBlocks(engine)) === 0) || undefined
  })
}

/** The answer is that of one pod that computes all of it. Asked of that one afterwards. */
export async function assertRight(said: Said, engine: Engine, path: Path, body: Body): Promise<void> {
  assert.equal(said.status, 200, said.text)
  const { stream: _, stream_options: __, ...plain } = body
  const right = await alone(engine, path, plain)
  assert.equal(said.text, right.text)
}

/** Freezes an engine for as long as the work takes. */
export async function whileFrozen<T>(engine: Engine, work: () => Promise<T>): Promise<T> {
  engine.process.freeze()
  try {
    return await work()
  } finally {
    engine.process.thaw()
  }
}

/** The prefill is done, the decode leg out. */
export const inDecode = (fleet: RoutedFleet, pod: 'decode' | 'spare', requests: number): Promise<void> =>
  fleet.inFlight({ prefill: 0, [pod]: requests })
