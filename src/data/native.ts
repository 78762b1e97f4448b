/**
 * The contract of the native addon, and its loading. Everything that crosses the boundary is here: body bytes go in
 * once, results are written into typed arrays the caller owns and reuses, and a miss is a number, never an exception
 * (a thrown error costs 4 µs; a sentinel 0).
 *
 * Two classes: `SharedState` is one memory for all threads of the process, reached by name. `Lane` belongs to one
 * thread and holds what is in flight there (prepared requests, by ticket).
 */
import { createRequire } from 'node:module'

/**
 * A pod as one number: `generation * 1024 + slot`. The slot indexes every per-pod array; the generation tells a pod
 * from an earlier one that used the same slot. Safe as a double for 2^43 generations.
 */
declare const podRefBrand: unique symbol
export type PodRef = number & { readonly [podRefBrand]: true }

/** Most pods that a slot number can address; the widest index. */
export const MAX_SLOTS = 1024
export const slotOf = (ref: PodRef): number => ref % MAX_SLOTS
/** Tells a PodRef from a REFUSED code or a "not found" (-1). */
export const isPodRef = (code: number): code is PodRef => code >= 0

/** A prepared request in a lane's slab. 0 means "nothing was prepared" and is accepted wherever a ticket is. */
declare const ticketBrand: unique symbol
export type Ticket = number & { readonly [ticketBrand]: true }
/** Tells a ticket from the -1 of a failed `prepare`. */
export const isTicket = (code: number): code is Ticket => code >= 0
const none = 0
if (!isTicket(none)) throw new Error('unreachable: 0 is a ticket')
export const NO_TICKET: Ticket = none

/** Fields of a request body that `scan` finds, in the order of their `[offset, length]` pairs in its output. */
export const FIELDS = [
  'model',
  'messages',
  'prompt',
  'input',
  'stream',
  'n',
  'user',
  'session_id',
  'session_params',
  'prompt_cache_key',
  'previous_response_id',
  'tools',
  'system',
  'instructions',
  'max_tokens',
  'add_generation_prompt',
  'continue_final_message',
  'chat_template_kwargs',
  'documents',
  'cache_salt',
  'add_special_tokens',
  'user_id',
] as const
export type FieldName = (typeof FIELDS)[number]

/** Which shape a body has: what `scan` demands of it, and what `prepare` makes of it. */
export const BODY_KINDS = {
  chat: 0,
  completions: 1,
  embeddings: 2,
  responses: 3,
  messages: 4,
  other: 5,
} as const
export type BodyKind = keyof typeof BODY_KINDS

/**
 * Answers of `scan`: 0 for a good body. On any other, out[0] is the byte offset of the fault and out[1] the index in
 * FIELDS of the field at fault, where there is one (0xFFFFFFFF if not).
 */
export const SCAN = {
  ok: 0,
  badJson: 1,
  notAnObject: 2,
  wrongType: 3,
  missingField: 4,
  badUtf8: 5,
  tooDeep: 6,
} as const

/** Native steps of a fused Prepare plan, as bits: one call runs all that are set. */
export const OPS = { tokenize: 1, hashBlocks: 2, matchPrefix: 4 } as const

/** What `book` does besides counting load. */
export const BOOK = { learnPrefix: 1, claimSession: 2 } as const

/** `code` of the error that `prepareAsync` rejects with for a template or tokenizer that refuses the request. */
export const REJECTED = 'InvalidArg'

/** Refusals of `book`, all negative; anything from 0 up is the PodRef that was booked. */
export const REFUSED = { gone: -1, cordoned: -2, full: -3, circuitOpen: -4 } as const

/** Columns of `Lane.loads`, each `width` numbers long: column c of slot s is `out[c * width + s]`. */
export const LOAD = {
  /** Requests booked and not released, over all workers. */
  inflight: 0,
  /** Uncached prompt tokens booked whose first byte has not come back. */
  pendingTokens: 1,
  /** Moving average of the time to the first byte, ms; 0 while unknown. */
  firstByteMs: 2,
  /** 0 closed, 1 open, 2 half open with its probe free, 3 half open with its probe taken. */
  breaker: 3,
  /** 1 ready for new requests; 0 joining, cordoned, leaving or free. */
  ready: 4,
  /**
   * Requests on the pod as far as anyone knows: those booked here, and those that its own metrics report beyond them
   * (other routers, direct clients). Equal to `inflight` where no metrics are read, or none lately.
   */
  requests: 5,
  /** Requests that wait in the engine's own queue, by its metrics; 0 while unknown. */
  waiting: 6,
  /** Part of the engine's KV blocks in use, 0 to 1, by its metrics; 0 while unknown. */
  kvUse: 7,
  /** How much of its share a pod should get: grows from 0.1 to 1 over the slow start of a new pod; 1 afterwards. */
  warmth: 8,
  /**
   * Tokens that the requests booked here hold in the pod's KV cache, over all workers: their prompts (cached or not;
   * nothing for a request of which nothing was prepared), and their answers as far as they have come (Lane.grow). A block
   * that several of them share counts for each.
   */
  activeTokens: 9,
} as const
export const LOAD_COLUMNS = 10

/** Where `Lane.book` writes what, in tokens. */
export const BOOKED = {
  /** Uncached prompt tokens, to be given back with the first byte or else at the end. */
  pendingTokens: 0,
  /** Prompt tokens that the request holds in the KV cache, to be given back at the end. */
  activeTokens: 1,
} as const
export const BOOKED_WORDS = 2

/** How the router knows what a pod's cache holds. */
export const CACHE_MODE = {
  /** From what it sent there. */
  predicted: 0,
  /** Predicted, and corrected by the pod's events, of which some are missing. */
  stale: 1,
  /** From the pod's events, all of them. */
  exact: 2,
} as const
export const CACHE_MODES = ['predicted', 'stale', 'exact'] as const

/** Where `SharedState.cacheStatus` writes what. */
export const CACHE = {
  /** A CACHE_MODE. */
  mode: 0,
  /** Blocks in the engine's GPU cache, by its events. */
  blocks: 1,
  /** Blocks in slower tiers (CPU, disk, …), by its events. */
  lowerBlocks: 2,
  /** Blocks predicted from what was sent there. */
  predictedBlocks: 3,
  /** Tokens in a block; 0 while unknown. */
  blockSize: 4,
  /** Blocks that the engine's cache has room for; 0 while unknown. */
  capacity: 5,
  /** Milliseconds between the engine's writing of the last batch and its arrival here, by both clocks. */
  lagMs: 6,
  /** Sequence number of the last batch applied; -1 before the first. */
  sequence: 7,
  /** Batches applied. */
  batches: 8,
  /** Stored and removed blocks applied. */
  events: 9,
  /** Times that sequence numbers were missing. */
  gaps: 10,
  /** Batches that never came, not by replay either. */
  lostBatches: 11,
  /** Replays asked for. */
  replays: 12,
  /** Batches that a replay brought. */
  replayedBatches: 13,
  /** Stored blocks whose parent was not known, which therefore could not be placed. */
  orphans: 14,
  /** Messages that could not be read. */
  malformed: 15,
  /** Times that the engine was seen to have started anew. */
  restarts: 16,
  /** Batches that came twice, or late. */
  duplicates: 17,
} as const
export const CACHE_WORDS = 18

/** Where `Lane.cacheHint` writes what, all in tokens. */
export const HINT = { prompt: 0, gpu: 1, lower: 2, predicted: 3, blockSize: 4, mode: 5 } as const
export const HINT_WORDS = 6

/** Answers of `Lane.checkUsage`. */
export const USAGE = {
  /** The router's count of prompt tokens is the engine's. */
  agrees: 0,
  /** It is not. */
  differs: 1,
  /** It is not, once too often: requests of that shape are matched as text from now on. */
  distrusted: 2,
  /** Nothing to compare: the router only estimated. */
  estimated: 3,
} as const

/** How a booking ended, for the breaker and the counters. */
export const OUTCOME = { ok: 0, failed: 1, cancelled: 2 } as const

/** Words of `Lane.summary`. */
export const SUMMARY = {
  /** Prompt tokens; an estimate (bytes / 4) where `exact` is 0. */
  promptTokens: 0,
  /** Hashed blocks. */
  blocks: 1,
  /** Tokens in a block. */
  blockSize: 2,
  /** 1 if the tokens are the model's own, 0 for the text-hash fallback. */
  exact: 3,
  /** Pods with at least one block. */
  matched: 4,
  /** Microseconds of template+tokenize, hash, match. */
  tokenizeMicros: 5,
  hashMicros: 6,
  matchMicros: 7,
} as const
export const SUMMARY_WORDS = 8

/** Where `SharedState.stats` writes what. */
export const STATS = {
  /** Distinct blocks in the prefix index. */
  entries: 0,
  /** Memory of exact and predicted cache state. */
  bytes: 1,
  livePods: 2,
  sessions: 3,
  /** Predicted blocks dropped for the memory budget so far. */
  shedBlocks: 4,
  /** Exact pods that became predicted for the memory budget so far. */
  demotedPods: 5,
} as const
export const STATS_WORDS = 6

/** Numbers that `SharedState.podStatus` writes. */
export const POD_STATUS_WORDS = 7

/** Options of the state, given by whoever creates it first. */
export interface SharedStateOptions {
  /** 64, 256 or 1,024 pods. */
  width: number
  /** Consecutive failures that open a pod's breaker. */
  breakerFailures: number
  /** Milliseconds that an open breaker rests before it lets one probe through. */
  breakerCooldownMs: number
  /** A pod whose first-byte average is over this many times the fleet's median opens too; 0 switches it off. */
  breakerLatencyFactor: number
  /** … but never while its average is below this many milliseconds. */
  breakerLatencyFloorMs: number
  /** Predicted blocks remembered per pod; the least recently used go first. */
  predictedBlocks: number
  /** Milliseconds that a prediction holds without being used again. */
  predictedTtlMs: number
  /** Worth of a cached token in a tier below the GPU (CPU memory, disk) against one on it, 0 to 1. */
  lowerTierWorth: number
  /** Milliseconds in which a new pod's share of new work grows to its full size; 0: at once. */
  slowStartMs: number
  /** Bytes that exact and predicted cache state together should not exceed. */
  indexBytes: number
  /** Sessions remembered; the least recently used go first. */
  sessions: number
  /** Milliseconds that an unused session holds. */
  sessionTtlMs: number
  /** Virtual time: the clock stands still until `setTime`. */
  virtualClock: boolean
}

export interface ModelOptions {
  /** Directory with tokenizer.json, tokenizer_config.json and perhaps chat_template.jinja; absent: text-hash fallback. */
  dir?: string
  /** A template that overrides the directory's. */
  chatTemplate?: string
  /** Tokens per KV block. */
  blockSize: number
  /**
   * Bytes of token ids that the tokenizer remembers of texts seen before, for all threads and all models of the
   * directory; 0: none. Absent: 64 MiB.
   */
  memoBytes?: number
}

/** One memory for all threads of the process. */
export interface SharedState {
  readonly width: number
  /** Adds a pod in state *joining*; throws when all slots are taken. */
  addPod(id: string): PodRef
  /** All workers know it: it may be picked. */
  activatePod(ref: number): boolean
  cordonPod(ref: number, cordoned: boolean): boolean
  /** Out of every decision at once; its blocks are swept in the background. */
  removePod(ref: number): boolean
  /** All workers have let go: the slot is reusable once swept and idle. */
  releasePod(ref: number): boolean
  /** In flight, pending tokens, predicted blocks, breaker, state (0 free, 1 joining, 2 ready, 3 cordoned, 4 leaving), swept (0/1), active tokens. */
  podStatus(ref: number, out: Float64Array): boolean
  /** Loads a model (blocking: seconds for a large tokenizer; a directory is loaded once) and gives its id. Throws with the file and the reason. */
  addModel(name: string, options: ModelOptions): number
  /** The same on the thread pool. Rejects as `addModel` throws. */
  addModelAsync(name: string, options: ModelOptions): Promise<number>
  /**
   * Loads files for a model that was added without, on the thread pool; requests prepared meanwhile are matched as text.
   */
  loadModel(model: number, options: ModelOptions): Promise<void>
  /** Why chats of that model are matched as text, for the log; null where they are matched by tokens. */
  modelFallback(model: number): string | null
  /** Milliseconds of the state's clock. */
  now(): number
  setTime(ms: number): void
  /** Numbers at the places of {@link STATS}. */
  stats(out: Float64Array): void
  /** Forgets what was predicted of one pod: its engine has lost its cache. */
  forgetPredicted(ref: number): void
  /**
   * The pod's engine is out of service. What is known of its cache is forgotten, unless its event feed can find out by
   * a replay whether it is still the same engine (`canVerify`).
   */
  podLost(ref: number, canVerify: boolean): void
  /**
   * What the engine says of its cache: tokens in a block and blocks in all (0: unknown, which leaves what was known
   * before), and the native model whose template and tokenizer it runs, where that is not the served model's own (-1).
   */
  setPodCache(ref: number, blockSize: number, blocks: number, variant: number): void
  /** The engine's own metrics: requests running and waiting, part of its KV blocks in use (0 to 1). */
  setEngineLoad(ref: number, running: number, waiting: number, kvUse: number): void
  /** Numbers at the places of {@link CACHE}; false if the pod is gone. */
  cacheStatus(ref: number, out: Float64Array): boolean
  /**
   * The block chains that requests of a model are hashed to, one per distinct pair of variant and block size in its
   * pool: `[model or variant, block size, …]`. Without a call: the model itself at its own block size.
   */
  setChains(model: number, pairs: Uint32Array): void
  /** Forgets everything that was predicted (for fair comparisons in demos and benches). */
  clearPredicted(): void
}

/** One thread's door to the state. */
export interface Lane {
  /** Checks the JSON and finds the FIELDS; `out` holds 2 × FIELDS.length words. Answers a SCAN code. */
  scan(body: Uint8Array, kind: number, out: Uint32Array): number
  /** Runs the plan's native steps (OPS bits): a ticket, or -1 with `lastError()` for a template or tokenizer error. */
  prepare(model: number, ops: number, kind: number, body: Uint8Array, fields: Uint32Array): number
  /**
   * The same on the thread pool, for prompts that would stall the loop. The body must not change meanwhile. Rejects with
   * an Error whose `code` is REJECTED where `prepare` would answer -1.
   */
  prepareAsync(
    model: number,
    ops: number,
    kind: number,
    body: Uint8Array,
    fields: Uint32Array,
  ): Promise<number>
  /** Why the last `prepare` answered -1. */
  lastError(): string
  summary(ticket: number, out: Uint32Array): void
  /** Looks the ticket's blocks up again and writes cached tokens by slot (zeros elsewhere); answers the highest. */
  cachedTokens(ticket: number, out: Uint32Array): number
  /** Writes `[slot, cached tokens]` pairs, best first; answers the number of pairs. */
  ranked(ticket: number, out: Uint32Array): number
  tokens(ticket: number): Uint32Array
  hashes(ticket: number): BigUint64Array
  /** Names the session of a ticket (or makes a ticket for it, if 0 is given) and answers the ticket. */
  setSession(ticket: number, key: string): number
  /** The PodRef that the ticket's session lives on, or -1. */
  sessionPod(ticket: number): number
  /** A lasting name → pod note outside of tickets (response ids): -1 if unknown. */
  recall(key: string): number
  remember(key: string, ref: number): void
  /** Load columns of all slots; answers the number of slots in use (highest + 1). */
  loads(out: Float64Array): number
  /** Next value of a named cursor shared by all threads (round robin). */
  cursor(name: number): number
  /**
   * Counts a request on a pod, atomically with the checks: alive, not cordoned, fewer than `bound` in flight (0: no
   * bound), breaker. Flags: BOOK. Answers the PodRef booked (another one, where another thread claimed the session
   * first) or a REFUSED code; writes the tokens it booked at the places of {@link BOOKED}.
   */
  book(ticket: number, ref: number, bound: number, flags: number, out: Uint32Array): number
  /** First byte came: its time, and the pending tokens leave the queue. */
  firstByte(ref: number, ms: number, pendingTokens: number): void
  /** A booked request's answer has grown by so many tokens: `release` gives them back with those booked. */
  grow(ref: number, tokens: number): void
  /** What the pod is thought to hold of the ticket's prompt, by tier, at the places of {@link HINT}. */
  cacheHint(ticket: number, ref: number, out: Uint32Array): boolean
  /** Compares the engine's count of prompt tokens with the router's: a USAGE code. */
  checkUsage(ticket: number, promptTokens: number): number
  /** The shape of a ticket's request as a word for the log: `chat`, `chat+tools`, `chat+images`, … */
  shape(ticket: number): string
  /**
   * A predicted pod's answer, as the pieces of the body that came from it (SSE or one JSON): its tokens become blocks
   * that the pod is believed to hold, behind the prompt's. On the thread pool; the ticket may be dropped at once.
   */
  learnAnswer(ticket: number, ref: number, events: boolean, pieces: Uint8Array[]): Promise<void>
  /** Whether `learnAnswer` would have an effect: the prompt's tokens are known, and the pod is not exact. */
  wantsAnswer(ticket: number, ref: number): boolean
  /**
   * Gives a booking back. `pendingTokens` is 0 if `firstByte` was called; `activeTokens` is what was booked and what it has
   * grown by.
   */
  release(ref: number, pendingTokens: number, activeTokens: number, outcome: number): void
  /** Frees a ticket. */
  drop(ticket: number): void
}

/** Who publishes: what a pod's events must be known by. */
export interface EventFeedOptions {
  /** The base model that the pod serves, as the router calls it: blocks without an adapter are its. */
  model: string
  /** Whether a replay can be asked for. */
  replay: boolean
  /** Sequence number of a publisher's first batch: 0 for vLLM and SGLang. */
  firstSequence: number
}

/** What a feed wants after a call; see `EventFeed.wants`. */
export const NO_WISH = -1

/**
 * One pod's stream of KV events (one data-parallel rank's), from message to index. It belongs to the thread that
 * receives; the state it writes to is all threads'.
 */
export interface EventFeed {
  /** A message as it came. True: look at `wants` and `notice`. */
  receive(sequence: Uint8Array, payload: Uint8Array): boolean
  /** The same for many messages: sequence, payload, sequence, payload, … */
  receiveAll(frames: Uint8Array[]): boolean
  /** The subscription is up, for the first time or again: the feed may want to see a replay. True as for `receive`. */
  connected(): boolean
  /** The connection was lost. */
  disconnected(): void
  /** Sequence number from which a replay should be asked for, NO_WISH if none is wanted. */
  wants(): number
  /** A batch of the replay; not to be called, nor `replayDone`, once `wants` is another number than was asked. */
  replayed(sequence: Uint8Array, payload: Uint8Array): void
  /** The replay's end came. True as for `receive`. */
  replayDone(): boolean
  /** No replay can be had. True as for `receive`. */
  replayFailed(): boolean
  /** What the log should say, once; null if nothing. */
  notice(): string | null
  /** Rank in the batch that `receive` was given last, or -1: publishers that share a socket are told apart by it. */
  rankOf(payload: Uint8Array): number
  close(): void
}

/** A prefix index of its own, for library use and benches. */
export interface PrefixIndex {
  readonly width: number
  addPod(): number
  removePod(pod: number): void
  /** Notes that the pod holds these blocks, which follow the block `parent` (left out: they start at the root). */
  store(pod: number, hashes: BigUint64Array, parent?: bigint): void
  remove(pod: number, hashes: BigUint64Array): void
  clear(pod: number): void
  /** Writes `[pod, depth in blocks]` pairs, deepest first; answers their number. */
  query(hashes: BigUint64Array, out: Uint32Array): number
  entries(): number
}

export interface NativeAddon {
  SharedState: {
    /** The state of that name, made with the options if there is none yet. */
    open(name: string, options?: SharedStateOptions): SharedState
    /** Forgets the name; memory goes with the last user. */
    close(name: string): void
  }
  Lane: new (state: SharedState) => Lane
  EventFeed: new (state: SharedState, ref: number, options: EventFeedOptions) => EventFeed
  PrefixIndex: new (width: number) => PrefixIndex
  /** Cumulative block hashes of tokens, as the router computes them. `root` holds model, LoRA and salt. */
  hashBlocks(tokens: Uint32Array, blockSize: number, root: string): BigUint64Array
  /** Renders a chat template (for tests and tools): body = request JSON, `now` = injected ms since the epoch. */
  renderTemplate(template: string, contextJson: string, nowMs: number): string
  /** The tokenizer of a directory, for simulated engines and tools. */
  Tokenizer: { load(dir: string): Tokenizer }
  version(): string
}

export interface Tokenizer {
  encode(text: string, addSpecialTokens: boolean): Uint32Array
  decode(ids: Uint32Array): string
  /** Tokens of a chat request body exactly as `prepare` makes them. */
  encodeChat(body: Uint8Array): Uint32Array
}

/**
 * Loads the addon: the binary beside the generated loader in native/node. One addon's statics are one memory for all
 * threads of the process, which is what makes `SharedState` shared.
 */
export function loadNative(): NativeAddon {
  loaded ??= requireAddon()
  return loaded
}

let loaded: NativeAddon | undefined

function requireAddon(): NativeAddon {
  try {
    const addon: NativeAddon = createRequire(import.meta.url)('../../native/node/binding.cjs')
    return addon
  } catch (error) {
    throw new Error(
      `the native core did not load on ${process.platform}-${process.arch}: run \`npm rebuild phyllo\` ` +
        '(it builds from source with Rust 1.88 or newer where no prebuilt binary fits)',
      { cause: error },
    )
  }
}
