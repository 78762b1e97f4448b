/** Exact cache state: vLLM 0.32 with caches far too small, and its KV events; then a data-parallel pair. */
import { pairCases } from '../exact/cases/index.js'
import { rankCases } from '../exact/cases/ranks.js'
import { runFleet } from '../exact/fleet.js'
import { vllmKind } from '../exact/kind.js'
import type { Phase } from './phase.js'

/** 3,072 tokens. */
const SIZE = { blockSize: 32, blocks: 96 }

/** 500 requests of conversations, nearly all alone: for others, what is cached changes before the engine comes to look. */
const MIX = { alone: 470, byTwo: 20, byFour: 12 }
/** After each upheaval. */
const AFTERWARDS = 30

/**
 * A rank goes on with empty steps for a while after its last request, in lockstep with the others, and the thread that
 * publishes its events must find its turn between them: some come after the answer, on a busy machine by more than 50 ms.
 */
const RANK_DELAY_MS = 200

export const exact: Phase = {
  name: 'exact',
  async run({ vllmPython, modelDir }) {
    const kind = vllmKind('vllm-0.32', vllmPython, modelDir, SIZE)
    const pair = [{ name: 'small-a' }, { name: 'small-b' }]
    const first = await runFleet(kind, modelDir, pair, pairCases(MIX, AFTERWARDS))
    const ranks = [{ name: 'ranks', dataParallel: 2 }]
    const second = await runFleet({ ...kind, eventDelayMs: RANK_DELAY_MS }, modelDir, ranks, rankCases(100))
    return { passed: first.passed + second.passed, failed: first.failed + second.failed }
  },
}
