/**
 * The replay protocol of vLLM and SGLang: a DEALER sends `["", first sequence number]` and is sent what the engine
 * still has from there on, each batch as `["", topic, sequence, payload]` (before vLLM 0.26 without the topic), and at
 * the end the sequence number −1 with an empty payload.
 *
 * The engine's ROUTER queues a thousand messages (libzmq's default, of 10,000 batches that it may have) and drops what
 * comes beyond without a word, the end too. So a replay may have holes: it is then asked for again from the first of
 * them. That brings a thousand batches each time at least. Only a hole at the very start of an answer is no such hole:
 * the engine has forgotten what was there.
 */
import { type Context, Dealer } from 'zeromq'
import { Patience } from './patience.js'
import { type Limits, replayOptions } from './socket-options.js'
import { watchConnection } from './watch.js'

/** How a replay ended. */
export type ReplayEnd =
  /** With its end marker. */
  | 'complete'
  /** Something came, but not the end. */
  | 'broken'
  /** Nothing came. */
  | 'silent'

export interface ReplayLimits extends Limits {
  /** Time for the connection, ms. */
  readonly connectMs: number
  /** Silence, ms, after which nothing more is expected. */
  readonly silenceMs: number
  /** Longest replay, ms. */
  readonly wholeMs: number
}

export const REPLAY_TIMES = {
  // The engine's other socket was connected to just now. A port where nobody listens must not hold up the rest of a
  // fleet that waits for its turn.
  connectMs: 2000,
  // An engine looks for requests between two batches, every 100 ms at least; but its publisher's thread waits for
  // Python's lock, which the step of a large prompt, or a model being compiled, may hold for seconds.
  silenceMs: 10_000,
  // 10,000 batches of 6 kB are half a second over a gigabit link. A peer that sends for ever must not be heard for ever.
  wholeMs: 60_000,
} as const

/** Numbers are 64 bits, big-endian. */
const SEQUENCE_BYTES = 8
const END = 0xffff_ffff_ffff_ffffn

/** A replay under way. */
export class Replay {
  #socket: Dealer | undefined
  #received = 0
  readonly #silence = new Patience()
  readonly #whole = new Patience()
  #settle: (end: ReplayEnd) => void = () => {}
  /** Resolves however it ends; after `close` too. */
  readonly ended: Promise<ReplayEnd>

  constructor(
    private readonly context: Context,
    private readonly endpoint: string,
    first: bigint,
    private readonly limits: ReplayLimits,
    private readonly batch: (sequence: Buffer, payload: Buffer) => void,
  ) {
    this.ended = new Promise(resolve => {
      this.#settle = resolve
    })
    this.#whole.begin(limits.wholeMs, () => this.close())
    this.#ask(first)
  }

  /** Ends it, whatever has come. */
  close(): void {
    this.#end(this.#received > 0 ? 'broken' : 'silent')
  }

  /** A socket for each request, so that what is still under way of the one before is not taken for an answer to it. */
  #ask(first: bigint): void {
    this.#socket?.close()
    const { context, endpoint, limits } = this
    const socket = new Dealer({ ...replayOptions(endpoint, limits), context })
    this.#socket = socket
    this.#waitFor(limits.connectMs)
    // libzmq connects again by itself, but a request that was lost with its connection is not sent again.
    const lost = () => {
      if (socket === this.#socket) this.close()
    }
    const up = () => {
      if (socket === this.#socket) this.#waitFor(limits.silenceMs)
    }
    watchConnection(socket, { up, down: lost, refused: lost, given: lost }).catch(lost)
    this.#read(socket, first).catch(lost)
  }

  async #read(socket: Dealer, first: bigint): Promise<void> {
    socket.connect(this.endpoint)
    await socket.send(['', sequenceFrame(first)])
    let next: bigint | undefined
    while (socket === this.#socket) {
      const answer = parse(await socket.receive())
      if (socket !== this.#socket || answer === undefined) continue
      if (answer.number === END && answer.payload.length === 0) return this.#end('complete')
      if (next !== undefined && answer.number > next) return this.#ask(next)
      next = answer.number + 1n
      this.#received += 1
      this.#waitFor(this.limits.silenceMs)
      this.batch(answer.sequence, answer.payload)
    }
  }

  #waitFor(ms: number): void {
    this.#silence.begin(ms, () => this.close())
  }

  #end(end: ReplayEnd): void {
    this.#silence.end()
    this.#whole.end()
    this.#socket?.close()
    this.#socket = undefined
    this.#settle(end)
  }
}

/** An answer with or without a topic; undefined if it is none. */
function parse(parts: readonly Buffer[]) {
  const sequence = parts.at(-2)
  const payload = parts.at(-1)
  if (sequence?.length !== SEQUENCE_BYTES || payload === undefined) return undefined
  if (parts.length < 3 || parts.length > 4) return undefined
  return { sequence, payload, number: sequence.readBigUInt64BE() }
}

function sequenceFrame(sequence: bigint): Buffer {
  const frame = Buffer.alloc(SEQUENCE_BYTES)
  frame.writeBigUInt64BE(sequence)
  return frame
}
