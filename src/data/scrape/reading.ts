/** From the numbers of a page's engine cores to those of one pod. */
import type { EngineAdapters } from './adapter-series.js'
import { VALUE } from './dialects.js'
import type { Core, Page } from './page.js'

/** What an engine says of itself. */
export interface EngineReading {
  /** As in Dialect. */
  readonly engine: string
  /** Requests that it works on. */
  readonly running: number
  /** Requests in its queue; 0 where the page does not say. */
  readonly waiting: number
  /** Part of its KV blocks in use, 0 to 1; 0 where the page does not say. */
  readonly kvUse: number
  /** Tokens in a KV block; 0 where the page does not say. */
  readonly blockSize: number
  /** KV blocks; 0 where the page does not say. */
  readonly blocks: number
  /** Its LoRA adapters; absent where the page does not say. */
  readonly adapters?: EngineAdapters
}

/** Page sizes go from 1 token (SGLang) to 2,096 (hybrid models); a number beyond this is no block size. */
const MOST_BLOCK_SIZE = 65_536

/**
 * The reading of a data-parallel rank, or of the engine as a whole (undefined): requests and blocks of all its cores
 * together, and the use of the fullest, since that is the one that will preempt. Undefined if the page has no such rank.
 */
export function readingOf(page: Page, rank: number | undefined): EngineReading | undefined {
  const { dialect } = page
  const cores =
    rank === undefined
      ? page.cores
      : page.cores.filter(({ label }) => dialect.ranks && label === String(rank))
  const running = sum(cores, core => at(core, 'running'))
  if (Number.isNaN(running)) return undefined
  const kvUse = highest(cores, useOf)
  const blockSize = highest(cores, blockSizeOf)
  const blocks = sum(cores, core => blocksOf(core, page.cores))
  return {
    engine: dialect.engine,
    running,
    waiting: known(sum(cores, core => at(core, 'waiting'))),
    kvUse: Math.min(1, known(kvUse)),
    blockSize: known(blockSize),
    blocks: known(blocks),
    ...adaptersOf(page, rank),
  }
}

/**
 * Data-parallel ranks of vLLM set one gauge in turn, without saying which of them it is: nobody is told apart by it (vLLM
 * itself warns of it as "incorrect/misleading").
 */
function adaptersOf({ adapters, cores }: Page, rank: number | undefined): Pick<EngineReading, 'adapters'> {
  const isOne = cores.length === 1 && (rank === undefined || rank === 0)
  return adapters !== undefined && isOne ? { adapters } : {}
}

const at = ({ values }: Core, name: keyof typeof VALUE): number => values[VALUE[name]] ?? Number.NaN

/** Some pages give the part in use, some the number of blocks. */
function useOf(core: Core): number {
  const use = at(core, 'kvUse')
  return Number.isNaN(use) ? at(core, 'usedBlocks') / at(core, 'blocks') : use
}

function blockSizeOf(core: Core): number {
  const size = at(core, 'blockSize')
  return Number.isInteger(size) && size > 0 && size <= MOST_BLOCK_SIZE ? size : Number.NaN
}

/** Blocks of one core, however the page puts it. Token counts that were rounded down still give whole blocks. */
function blocksOf(core: Core, all: readonly Core[]): number {
  const blocks = at(core, 'blocks')
  if (!Number.isNaN(blocks)) return Math.round(blocks)
  const ofTokens = at(core, 'tokens') / blockSizeOf(core)
  if (!Number.isNaN(ofTokens)) return Math.round(ofTokens)
  const sharers = all.filter(each => !Number.isNaN(at(each, 'blocksOfAll'))).length
  return Math.round(at(core, 'blocksOfAll') / sharers)
}

const known = (value: number): number => (Number.isFinite(value) ? value : 0)

/** Of those that say it; NaN if none does. */
function sum(cores: readonly Core[], of: (core: Core) => number): number {
  return gather(cores, of, (a, b) => a + b)
}

function highest(cores: readonly Core[], of: (core: Core) => number): number {
  return gather(cores, of, Math.max)
}

function gather(
  cores: readonly Core[],
  of: (core: Core) => number,
  join: (a: number, b: number) => number,
): number {
  let result = Number.NaN
  for (const core of cores) {
    const value = of(core)
    if (Number.isNaN(value)) continue
    result = Number.isNaN(result) ? value : join(result, value)
  }
  return result
}
