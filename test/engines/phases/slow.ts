/** Exact cache state of engines that take long to start: other dialects of the same events. */
import { pairCases } from '../exact/cases/index.js'
import { sglangToolCases } from '../exact/cases/sglang-tools.js'
import { runFleet } from '../exact/fleet.js'
import { sglangKind, vllmKind } from '../exact/kind.js'
import { installSglang, installVllm } from '../install.js'
import type { Phase } from './phase.js'

/** 3,072 tokens. */
const SIZE = { blockSize: 16, blocks: 192 }
/** 2,304 tokens: without tools, prompts are shorter. */
const SMALLER = { blockSize: 16, blocks: 144 }
/** Nearly all alone, as in the other phase. */
const MIX = { alone: 400, byTwo: 6, byFour: 4 }
const AFTERWARDS = 20

/**
 * Without cached tokens it leaves the details out. The events of one request in 25 came after its answer, mostly within
 * 4 ms: the engine's core spins while its worker, a process of its own here, computes.
 */
const OLD_WAYS = { tellsZero: false, eventDelayMs: 30 }

/** Events as arrays, replays without a topic. */
export const vllm22: Phase = {
  name: 'vllm-0.22',
  async run({ modelDir }) {
    const python = await installVllm('vllm-0.22', '0.22.1')
    const kind = { ...vllmKind('vllm-0.22', python, modelDir, SIZE), ...OLD_WAYS }
    return runFleet(kind, modelDir, [{ name: 'old-a' }, { name: 'old-b' }], pairCases(MIX, AFTERWARDS))
  },
}

/** Signed hashes, many blocks in one event, a radix tree for a cache. */
export const sglang: Phase = {
  name: 'sglang',
  async run({ modelDir }) {
    const kind = sglangKind('sglang', await installSglang(), modelDir, SMALLER)
    const pair = [{ name: 'radix-a' }, { name: 'radix-b' }]
    return runFleet(kind, modelDir, pair, [...pairCases(MIX, AFTERWARDS), ...sglangToolCases])
  },
}
