/** Recorded messages of real engines, as frames and as events. */
import { readdirSync, readFileSync } from 'node:fs'
import { decode } from '@msgpack/msgpack'
import { z } from 'zod'
import type { EventBatch, KvEvent } from '#phyllo/simulation/engine/kv-events/encoder.js'

const ROOT = new URL('../../../../test/fixtures/captures/kv-events/', import.meta.url)

export interface Recorded {
  readonly name: string
  readonly topic: string
  readonly sequence: bigint
  readonly payload: Buffer
}

/** All recorded messages of an engine, in order. */
export function recorded(engine: string): Recorded[] {
  const dir = new URL(`${engine}/`, ROOT)
  return readdirSync(dir)
    .filter(name => name.endsWith('.bin'))
    .sort()
    .map(name => {
      const [topic, sequence, payload] = framesOf(readFileSync(new URL(name, dir)))
      if (topic === undefined || sequence === undefined || payload === undefined) throw new Error(name)
      return { name, topic: topic.toString(), sequence: sequence.readBigUInt64BE(), payload }
    })
}

/** A recording: the number of frames, then each with its length before it. */
function framesOf(bytes: Buffer): Buffer[] {
  let at = 4
  return Array.from({ length: bytes.readUInt32BE(0) }, () => {
    const from = at + 4
    at = from + bytes.readUInt32BE(at)
    return bytes.subarray(from, at)
  })
}

// Numbers below 2^32 come as such, larger ones as big integers.
const integer = z.union([z.number().int(), z.bigint()]).transform(Number)
const hash = z.union([z.number().transform(BigInt), z.bigint(), z.instanceof(Uint8Array)])
const extraKey = z.union([z.string(), integer, z.array(z.union([z.string(), integer]))])
const extraKeys = z.array(z.array(extraKey).nullable()).nullish()
const removedFields = { block_hashes: z.array(hash), medium: z.string().nullable().default(null) }
const group = integer.nullish()

const mapEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('BlockStored'),
    block_hashes: z.array(hash),
    parent_block_hash: hash.nullable(),
    token_ids: z.array(integer),
    block_size: integer,
    lora_id: integer.nullable(),
    medium: z.string().nullable().default(null),
    lora_name: z.string().nullish(),
    extra_keys: extraKeys,
    cache_salt: z.string().optional(),
    group_idx: group,
    kv_cache_spec_kind: z.string().nullish(),
    kv_cache_spec_sliding_window: integer.nullish(),
  }),
  z.strictObject({ type: z.literal('BlockRemoved'), ...removedFields, group_idx: group }),
  z.strictObject({ type: z.literal('AllBlocksCleared') }),
])

/** vLLM 0.22's order. */
const ORDER = {
  BlockStored: [
    'block_hashes',
    'parent_block_hash',
    'token_ids',
    'block_size',
    'lora_id',
    'medium',
    'lora_name',
    'extra_keys',
    'group_idx',
    'kv_cache_spec_kind',
    'kv_cache_spec_sliding_window',
  ],
  BlockRemoved: ['block_hashes', 'medium', 'group_idx'],
  AllBlocksCleared: [],
} as const

const arrayEvent = z
  .tuple([z.enum(['BlockStored', 'BlockRemoved', 'AllBlocksCleared'])], z.unknown())
  .transform(([type, ...values]) => {
    const names: readonly string[] = ORDER[type]
    return { type, ...Object.fromEntries(names.map((name, at) => [name, values[at]])) }
  })

const batch = z.tuple([z.number(), z.array(z.unknown()), integer.nullable()])

/** Reads a payload strictly: a field that is not known here fails the test that asks. */
export function decodeBatch(payload: Uint8Array): EventBatch {
  const [time, list, rank] = batch.parse(decode(payload, { useBigInt64: true }))
  return { time, rank, events: list.map(decodeEvent) }
}

function decodeEvent(raw: unknown): KvEvent {
  const event = mapEvent.parse(Array.isArray(raw) ? arrayEvent.parse(raw) : raw)
  if (event.type === 'AllBlocksCleared') return { type: event.type }
  const groupIndex = present('groupIndex', event.group_idx)
  const { block_hashes: blockHashes, medium } = event
  if (event.type === 'BlockRemoved') return { type: event.type, blockHashes, medium, ...groupIndex }
  return {
    type: event.type,
    blockHashes,
    medium,
    parentBlockHash: event.parent_block_hash,
    tokenIds: event.token_ids,
    blockSize: event.block_size,
    loraId: event.lora_id,
    ...present('loraName', event.lora_name),
    ...present('extraKeys', event.extra_keys),
    ...present('cacheSalt', event.cache_salt),
    ...groupIndex,
    ...present('specKind', event.kv_cache_spec_kind),
    ...present('slidingWindow', event.kv_cache_spec_sliding_window),
  }
}

/** A field if it has a value. */
const present = <K extends string, T>(
  name: K,
  value: T | null | undefined,
): { readonly [key in K]?: T } | Record<never, never> =>
  value === null || value === undefined ? {} : { [name]: value }
