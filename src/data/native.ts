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
} as const
export const LOAD_COLUMNS = 5

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
  /** In flight, pending tokens, predicted blocks, breaker, state (0 free, 1 joining, 2 ready, 3 cordoned, 4 leaving), swept (0/1). */
  podStatus(ref: number, out: Float64Array): boolean
  /** Loads a model (blocking: seconds for a large tokenizer; a directory is loaded once) and gives its id. Throws with the file and the reason. */
  addModel(name: string, options: ModelOptions): number
  /** Why chats of that model are matched as text, for the log; null where they are matched by tokens. */
  modelFallback(model: number): string | null
  /** Milliseconds of the state's clock. */
  now(): number
  setTime(ms: number): void
  /** Numbers at the places of {@link STATS}. */
  stats(out: Float64Array): void
  /** Forgets what was predicted of one pod: its engine has lost its cache. */
  forgetPredicted(ref: number): void
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
   * first) or a REFUSED code; writes the uncached tokens it booked to out[0].
   */
  book(ticket: number, ref: number, bound: number, flags: number, out: Uint32Array): number
  /** First byte came: its time, and the pending tokens leave the queue. */
  firstByte(ref: number, ms: number, pendingTokens: number): void
  /** Gives a booking back. `pendingTokens` is 0 if `firstByte` was called. */
  release(ref: number, pendingTokens: number, outcome: number): void
  /** Frees a ticket. */
  drop(ticket: number): void
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
