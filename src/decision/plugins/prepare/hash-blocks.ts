import { OPS } from '../../../data/native.js'
import { nativeStep } from '../../factories.js'
import { blockHashes, promptTokens } from '../../slots.js'

/** Cumulative hashes of the prompt's full blocks, rooted in model, LoRA and cache salt. */
export const hashBlocks = nativeStep({
  name: 'hash-blocks',
  summary: "Hashes the prompt's token blocks, each together with all before it.",
  op: OPS.hashBlocks,
  reads: [promptTokens],
  writes: [blockHashes],
})
