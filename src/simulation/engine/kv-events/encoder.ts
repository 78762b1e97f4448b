/**
 * KV events on the wire as engines write them, byte for byte: msgpack, one array `[ts, events, data-parallel rank]` per
 * step of the engine.
 *
 * - vLLM from 0.24: events are maps with a `type`, fields at their default left out.
 * - vLLM before: events are arrays, the type first, all fields of its time in place.
 * - SGLang: maps, hashes signed, the cache salt a field of its own, no field for what vLLM calls extra keys.
 *
 * The recorded frames in test/fixtures/captures hold this to account.
 */
import { Encoder } from '@msgpack/msgpack'

/** An engine's own name of a block: 64 bits, or the 32 bytes of a whole digest. Opaque to everyone else. */
export type EngineHash = bigint | Uint8Array

/** What tells a block from another of the same tokens: a cache salt, an adapter's name, an image and its place. */
export type ExtraKey = string | number | readonly (string | number)[]

/** Blocks became findable in a cache. `undefined` and absent are the same to all optional fields. */
export interface BlockStored {
  readonly type: 'BlockStored'
  readonly blockHashes: readonly EngineHash[]
  /** The block before the first one; null at a sequence's start. */
  readonly parentBlockHash: EngineHash | null
  /** Of all blocks together. */
  readonly tokenIds: ArrayLike<number>
  readonly blockSize: number
  /** `GPU`, `CPU`, …; null leaves it open, which readers take for the GPU. */
  readonly medium: string | null
  readonly loraId?: number | null
  readonly loraName?: string | null
  /** vLLM: per block, null where it has none; null for no list at all. */
  readonly extraKeys?: readonly (readonly ExtraKey[] | null)[] | null
  /** SGLang. */
  readonly cacheSalt?: string
  /** vLLM: which of the model's KV groups. */
  readonly groupIndex?: number
  /** vLLM: that group's kind of attention, `full_attention`, `sliding_window`, … */
  readonly specKind?: string
  readonly slidingWindow?: number
}

export interface BlockRemoved {
  readonly type: 'BlockRemoved'
  readonly blockHashes: readonly EngineHash[]
  readonly medium: string | null
  readonly groupIndex?: number
}

export interface AllBlocksCleared {
  readonly type: 'AllBlocksCleared'
}

export type KvEvent = BlockStored | BlockRemoved | AllBlocksCleared

export interface EventBatch {
  /** Seconds since the epoch. */
  readonly time: number
  readonly events: readonly KvEvent[]
  /** Data-parallel rank; null for none. */
  readonly rank: number | null
}

export const EVENT_FORMS = ['map', 'array'] as const
export const EVENT_DIALECTS = ['vllm', 'sglang'] as const

export interface EventFormat {
  /** SGLang knows maps only. */
  readonly form: (typeof EVENT_FORMS)[number]
  readonly dialect: (typeof EVENT_DIALECTS)[number]
}

export class EventEncoder {
  // Big integers are what makes 64-bit hashes exact; a number of that size would be written as a float.
  private readonly encoder = new Encoder({ useBigInt64: true })
  private readonly write: (event: KvEvent) => unknown

  constructor({ form, dialect }: EventFormat) {
    this.write = dialect === 'sglang' ? sglangMap : form === 'map' ? vllmMap : vllmArray
  }

  /** The payload of one message. */
  encode(batch: EventBatch): Buffer {
    // The time is a float whatever its value, which the library would write as an integer for a whole second.
    const head = Buffer.alloc(10)
    head[0] = 0x93
    head[1] = 0xcb
    head.writeDoubleBE(batch.time, 2)
    const events = this.encoder.encode(batch.events.map(this.write))
    return Buffer.concat([head, events, this.encoder.encode(batch.rank)])
  }
}

/** A message's second frame: sequence numbers are 64 bits, big-endian. */
export function sequenceFrame(sequence: number | bigint): Buffer {
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64BE(BigInt(sequence))
  return frame
}

/** The sequence number that ends a replay: −1 in 64 bits. */
export const END_OF_REPLAY = 0xffff_ffff_ffff_ffffn

/** A map without the fields that are undefined. A loop: the simulator encodes millions of events. */
function fields(entries: readonly (readonly [string, unknown])[]): object {
  const map: Record<string, unknown> = {}
  for (const [name, value] of entries) if (value !== undefined) map[name] = value
  return map
}

/** Leaves a field out where it is null or absent: what an engine does with defaults. */
const optional = <T>(value: T | null | undefined): T | undefined => value ?? undefined

function vllmMap(event: KvEvent): unknown {
  if (event.type === 'AllBlocksCleared') return { type: event.type }
  if (event.type === 'BlockRemoved') {
    return fields([
      ['type', event.type],
      ['block_hashes', event.blockHashes.map(unsigned)],
      ['medium', event.medium],
      ['group_idx', optional(event.groupIndex)],
    ])
  }
  return fields([
    ...storedHead(event, unsigned),
    ['medium', event.medium],
    ['lora_name', event.loraName ?? null],
    ['extra_keys', optional(event.extraKeys)],
    ['group_idx', optional(event.groupIndex)],
    ['kv_cache_spec_kind', optional(event.specKind)],
    ['kv_cache_spec_sliding_window', optional(event.slidingWindow)],
  ])
}

/** vLLM 0.22's fields, in its order. */
function vllmArray(event: KvEvent): unknown {
  if (event.type === 'AllBlocksCleared') return [event.type]
  const hashes = event.blockHashes.map(unsigned)
  const group = event.groupIndex ?? null
  if (event.type === 'BlockRemoved') return [event.type, hashes, event.medium, group]
  return [
    event.type,
    hashes,
    parentOf(event, unsigned),
    Array.from(event.tokenIds),
    event.blockSize,
    event.loraId ?? null,
    event.medium,
    event.loraName ?? null,
    event.extraKeys ?? null,
    group,
    event.specKind ?? null,
    event.slidingWindow ?? null,
  ]
}

function sglangMap(event: KvEvent): unknown {
  if (event.type === 'AllBlocksCleared') return { type: event.type }
  if (event.type === 'BlockRemoved') {
    return fields([
      ['type', event.type],
      ['block_hashes', event.blockHashes.map(signed)],
      ['medium', optional(event.medium)],
    ])
  }
  return fields([
    ...storedHead(event, signed),
    ['medium', optional(event.medium)],
    ['cache_salt', optional(event.cacheSalt)],
    ['lora_name', optional(event.loraName)],
  ])
}

type HashForm = (hash: EngineHash) => EngineHash | number

/** The fields that both engines begin with and always write. */
const storedHead = (event: BlockStored, form: HashForm): (readonly [string, unknown])[] => [
  ['type', event.type],
  ['block_hashes', event.blockHashes.map(form)],
  ['parent_block_hash', parentOf(event, form)],
  ['token_ids', Array.from(event.tokenIds)],
  ['block_size', event.blockSize],
  ['lora_id', event.loraId ?? null],
]

const parentOf = ({ parentBlockHash }: BlockStored, form: HashForm): EngineHash | number | null =>
  parentBlockHash === null ? null : form(parentBlockHash)

const unsigned: HashForm = hash => (typeof hash === 'bigint' ? shortest(BigInt.asUintN(64, hash)) : hash)
const signed: HashForm = hash => (typeof hash === 'bigint' ? shortest(BigInt.asIntN(64, hash)) : hash)

/** Engines write each integer in its shortest form, the library big ones always in eight bytes. */
const shortest = (value: bigint): bigint | number =>
  value >= -0x8000_0000n && value <= 0xffff_ffffn ? Number(value) : value
