/** One request inside the engine: how far it is and which blocks it holds. */
import type { BlockCache } from './block-cache.js'
import type { EngineRequest } from './request.js'

export class Sequence {
  /** Tokens whose keys and values are in its blocks. */
  computed = 0
  generated = 0
  preemptions = 0
  /** Prompt tokens found cached when first scheduled; null before. */
  cachedTokens: number | null = null
  /** Finished or aborted: a step under way must not touch it any more. */
  isGone = false
  /** What another engine has computed is here, in its blocks. */
  isLoaded = false
  /** It never came, or was lost with the blocks: the prompt is computed here. */
  isRemoteLost = false
  private blocks: number[] = []
  /** Leading blocks that are named in the cache. */
  private named = 0

  constructor(
    readonly request: EngineRequest,
    readonly arrivedAt: number,
    private readonly blockSize: number,
  ) {}

  /** Tokens still to compute before the next one can be sampled. */
  get missing(): number {
    return this.request.promptTokens + this.generated - this.computed
  }

  get namedBlocks(): number {
    return this.named
  }

  /** Starts from what is cached. At least one token is always computed: the next one is sampled from it. */
  takeCached(cache: BlockCache): void {
    const known = this.request.promptTokens + this.generated
    this.blocks = cache.acquirePrefix(this.request.keys, Math.floor((known - 1) / this.blockSize))
    this.named = this.blocks.length
    this.computed = this.named * this.blockSize
    this.cachedTokens ??= this.computed
  }

  /**
   * Counts what another engine has handed over as computed, past what is cached here. Answers how many tokens that
   * is. The prompt's last token is computed all the same, as in vLLM: the next one is sampled from it.
   */
  takeRemote(): number {
    const { remoteTokens = 0, promptTokens } = this.request
    const known = Math.min(remoteTokens, promptTokens)
    if (this.isRemoteLost || known <= this.computed) return 0
    const taken = known - this.computed
    this.computed = Math.min(known, promptTokens - 1)
    return taken
  }

  /** Whether it has to wait for what another engine hands over. */
  get awaitsPull(): boolean {
    return this.request.pulls === true && !this.isLoaded && !this.isRemoteLost
  }

  /** The blocks it has, in the order of its tokens. */
  get heldBlocks(): readonly number[] {
    return this.blocks
  }

  /** Gets the blocks for `tokens` more; false, and nothing taken, if there are not enough. */
  reserve(tokens: number, cache: BlockCache): boolean {
    const wanted = Math.ceil((this.computed + tokens) / this.blockSize) - this.blocks.length
    if (wanted > cache.free) return false
    for (let i = 0; i < wanted; i++) this.blocks.push(cache.allocate())
    return true
  }

  /** A step has computed `tokens` more: blocks that are full now become findable. Answers how many became so. */
  compute(tokens: number, cache: BlockCache): number {
    this.computed += tokens
    const before = this.named
    const full = Math.min(Math.floor(this.computed / this.blockSize), this.request.keys.length)
    for (; this.named < full; this.named++) {
      const block = this.blocks[this.named]
      const key = this.request.keys[this.named]
      if (block === undefined || key === undefined) throw new Error('unreachable: a full block without a key')
      cache.name(block, key)
    }
    return this.named - before
  }

  /** Loses its place: blocks are free, though still cached until someone else needs them. */
  preempt(cache: BlockCache): void {
    this.preemptions++
    this.isRemoteLost = true
    this.isLoaded = false
    this.giveBack(cache)
  }

  giveBack(cache: BlockCache): void {
    cache.releaseAll(this.blocks)
    this.blocks = []
    this.named = 0
    this.computed = 0
  }
}
