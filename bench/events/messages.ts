/**
 * Messages as a publisher sends them, made in advance: bytes on the wire, sequence numbers left to be filled in. Two
 * passes over the same blocks: all are stored, then all are removed. Where the engine's cache holds less than a pass
 * stores, what was stored first goes with the messages that need its room, as engines do it.
 */
import { EventEncoder, type KvEvent } from '#phyllo/simulation/engine/kv-events/encoder.js'

export const BLOCK_SIZE = 16
/** Blocks of a conversation: 8,192 tokens. */
export const CONVERSATION = 512

export interface Shape {
  /** Blocks in a message. */
  readonly blocks: number
  readonly messages: number
  /** Blocks that the engine's cache holds, a multiple of a message's. */
  readonly capacity: number
}

/** Messages of a pass. */
export const messagesOf = ({ blocks, messages, capacity }: Shape, pass: Pass): number =>
  pass === 'store' ? messages : Math.min(messages, capacity / blocks)

export type Pass = 'store' | 'remove'

/** Tokens of a conversation; of 150,000 as large vocabularies have, so that most take five bytes. */
export function tokensOf(conversation: number): Uint32Array {
  let state = conversation + 1
  return Uint32Array.from({ length: CONVERSATION * BLOCK_SIZE }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state % 150_000
  })
}

/** An engine's name of a block: 64 bits that say nothing. */
const nameOf = (block: number): bigint => BigInt.asUintN(64, BigInt(block + 1) * 0x9e37_79b9_7f4a_7c15n)

function storedEvent(first: number, blocks: number, tokens: Uint32Array): KvEvent {
  const at = first % CONVERSATION
  return {
    type: 'BlockStored',
    blockHashes: Array.from({ length: blocks }, (_, i) => nameOf(first + i)),
    parentBlockHash: at === 0 ? null : nameOf(first - 1),
    tokenIds: tokens.subarray(at * BLOCK_SIZE, (at + blocks) * BLOCK_SIZE),
    blockSize: BLOCK_SIZE,
    medium: 'GPU',
    groupIndex: 0,
  }
}

function removedEvent(first: number, blocks: number): KvEvent {
  const blockHashes = Array.from({ length: blocks }, (_, i) => nameOf(first + i))
  return { type: 'BlockRemoved', blockHashes, medium: 'GPU', groupIndex: 0 }
}

/** The payloads of a pass, one event of stored or removed blocks each, as vLLM writes them today. */
export function* payloads(shape: Shape, pass: Pass): Generator<Buffer> {
  const { blocks, messages, capacity } = shape
  const encoder = new EventEncoder({ form: 'map', dialect: 'vllm' })
  let tokens = tokensOf(0)
  const skipped = messages - messagesOf(shape, pass)
  for (let message = skipped; message < messages; message++) {
    const first = message * blocks
    if (first % CONVERSATION === 0) tokens = tokensOf(first / CONVERSATION)
    const events = pass === 'store' ? [storedEvent(first, blocks, tokens)] : [removedEvent(first, blocks)]
    if (pass === 'store' && first >= capacity) events.unshift(removedEvent(first - capacity, blocks))
    yield encoder.encode({ time: Date.now() / 1000, events, rank: 0 })
  }
}

/** A pass on the wire: ZMTP frames, and where the sequence numbers go. */
export interface Wire {
  readonly bytes: Buffer
  readonly sequences: Uint32Array
}

const MORE = 1
/** Where in a message its number is: behind an empty topic and the frame's own head. */
export const SEQUENCE_AT = 4
const LONG = 2

export function onTheWire(shape: Shape, pass: Pass): Wire {
  const parts: Buffer[] = []
  const sequences = new Uint32Array(messagesOf(shape, pass))
  let at = 0
  let count = 0
  for (const payload of payloads(shape, pass)) {
    // An empty topic, the number, the payload.
    const isLong = payload.length > 255
    const head = Buffer.alloc(2 + 10 + (isLong ? 9 : 2))
    head.set([MORE, 0, MORE, 8])
    head[12] = isLong ? LONG : 0
    if (isLong) head.writeBigUInt64BE(BigInt(payload.length), 13)
    else head[13] = payload.length
    sequences[count++] = at + SEQUENCE_AT
    at += head.length + payload.length
    parts.push(head, payload)
  }
  return { bytes: Buffer.concat(parts), sequences }
}
