/**
 * A feed in TypeScript that keeps messages in order as the native one does, and remembers what it was told: for tests
 * of what happens between socket and feed.
 */

import type { EventSource } from '#phyllo/data/kv-events/source.js'
import { type EventFeed, NO_WISH } from '#phyllo/data/native.js'

const numberOf = (sequence: Uint8Array): number => Number(Buffer.from(sequence).readBigUInt64BE())

export class FakeFeed implements EventFeed {
  /** Numbers in the order they were applied, and what they brought. */
  readonly applied: number[] = []
  readonly payloads: Buffer[] = []
  /** Numbers that never came. */
  readonly lost: number[] = []
  /** All that was told besides messages. */
  readonly calls: string[] = []
  /** Messages of each call. */
  readonly batches: number[] = []
  duplicates = 0
  closed = false
  readonly notices: string[] = []
  readonly #held = new Map<number, Buffer>()
  #next: number | undefined
  #wish = NO_WISH

  constructor(readonly source: EventSource) {}

  receive(sequence: Uint8Array, payload: Uint8Array): boolean {
    const number = numberOf(sequence)
    this.#next ??= this.#wish === NO_WISH && number === this.source.firstSequence ? number : undefined
    if (this.#next !== undefined && number < this.#next) this.duplicates += 1
    else this.#held.set(number, Buffer.from(payload))
    this.#drain()
    this.#wish = this.#held.size > 0 ? (this.#next ?? this.source.firstSequence) : NO_WISH
    return this.#news()
  }

  receiveAll(frames: Uint8Array[]): boolean {
    this.batches.push(frames.length / 2)
    let news = false
    for (let at = 0; at < frames.length; at += 2) {
      const [sequence, payload] = frames.slice(at, at + 2)
      if (sequence === undefined || payload === undefined) throw new Error('frames come in pairs')
      news = this.receive(sequence, payload)
    }
    return news
  }

  connected(): boolean {
    this.calls.push('connected')
    if (this.source.replay !== undefined) this.#wish = this.#next ?? this.source.firstSequence
    return this.#news()
  }
  disconnected(): void {
    this.calls.push('disconnected')
  }
  wants(): number {
    return this.#wish
  }

  replayed(sequence: Uint8Array, payload: Uint8Array): void {
    const number = numberOf(sequence)
    if (number < (this.#next ?? 0)) return
    this.#skipTo(number)
    this.#held.delete(number)
    this.#apply(number, Buffer.from(payload))
  }

  replayDone(): boolean {
    this.calls.push('replayDone')
    this.#next ??= this.source.firstSequence
    this.#drain()
    this.#wish = this.#held.size > 0 ? this.#next : NO_WISH
    return this.#news()
  }

  replayFailed(): boolean {
    this.calls.push('replayFailed')
    const first = Math.min(...this.#held.keys())
    if (this.#held.size > 0) this.#skipTo(first)
    this.#drain()
    this.#wish = this.#held.size > 0 ? (this.#next ?? 0) : NO_WISH
    return this.#news()
  }

  notice(): string | null {
    return this.notices.shift() ?? null
  }
  /** The payload's last byte, as these tests write it. */
  rankOf(payload: Uint8Array): number {
    return payload.at(-1) ?? -1
  }
  close(): void {
    this.closed = true
  }

  #news(): boolean {
    return this.#wish !== NO_WISH || this.notices.length > 0
  }

  #skipTo(number: number): void {
    for (let missing = this.#next ?? number; missing < number; missing++) this.lost.push(missing)
    this.#next = number
  }

  #drain(): void {
    while (this.#next !== undefined) {
      const payload = this.#held.get(this.#next)
      if (payload === undefined) return
      this.#held.delete(this.#next)
      this.#apply(this.#next, payload)
    }
  }

  #apply(number: number, payload: Buffer): void {
    this.applied.push(number)
    this.payloads.push(payload)
    this.#next = number + 1
  }
}
