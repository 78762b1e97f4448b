/**
 * What an engine has ready for others, by key: each is read by one engine, once, within its time. A reader may come
 * before the offer, where the protocol lets it wait.
 */
import type { Timing } from '../driver.js'
import type { HandOffCounts } from './counters.js'

/** What the reader is told. */
export interface Offer {
  /** Leading prompt tokens in the blocks. */
  readonly tokens: number
  /** Prompt tokens that the prefill found in its own cache. */
  readonly cachedTokens: number
  /** Of the prompt: keys and values of another one would be of no use. */
  readonly digest: number
  /** Of the engine that made it. */
  readonly engine: string
}

/** Why an offer can't be had, in words that follow "hand-off KEY ". */
export class OfferError extends Error {
  override readonly name = 'OfferError'
}

interface Entry {
  /** A prefill leg is at it, or was. */
  isOwned: boolean
  offer: Offer | null
  release: () => void
  isClaimed: boolean
  reader: { readonly resolve: (offer: Offer) => void; readonly reject: (error: OfferError) => void } | null
  /** Called when a reader has come. */
  onReader: (() => void) | null
  /** Called when its reader has gone away. */
  onLost: (() => void) | null
  cancelTimer: () => void
}

/** Ends of hand-offs that are remembered, so that a refusal can say why: hours of a busy engine, in a megabyte. */
const MOST_REMEMBERED = 8192
/** Readers and owners at once: far above any batch; more is a leak of the caller's. */
const MOST_ENTRIES = 16_384

const nothing = (): void => undefined

export class Offers {
  private readonly entries = new Map<string, Entry>()
  private readonly ended = new Map<string, string>()

  /** @param leaseMs how long an offer waits for its reader, and a reader for the end of its transfer */
  constructor(
    private readonly leaseMs: number,
    private readonly counts: HandOffCounts,
    private readonly timing: Timing,
  ) {}

  /** A prefill leg begins under that key. Throws an OfferError if one has, ever. */
  reserve(key: string, onReader: (() => void) | null = null, onLost: (() => void) | null = null): void {
    this.requireFresh(key)
    const entry = this.entryOf(key)
    if (entry.isOwned) throw new OfferError('is in use by another request')
    entry.isOwned = true
    entry.onReader = onReader
    entry.onLost = onLost
    if (entry.reader !== null) onReader?.()
  }

  /** The blocks are ready. `release` is called once, when they have been read or given up. */
  offer(key: string, offer: Offer, release: () => void): void {
    // Its reader has gone, or it was given up otherwise: nobody will come.
    if (this.ended.has(key)) return release()
    const entry = this.entryOf(key)
    Object.assign(entry, { isOwned: true, offer, release })
    this.counts.made++
    this.counts.live++
    this.startLease(key, entry)
    if (entry.reader === null) return
    entry.isClaimed = true
    entry.reader.resolve(offer)
    entry.reader = null
  }

  /**
   * Takes an offer to read it; `done` must follow. Rejects with an OfferError if it was read before, has expired, is of
   * another prompt or, unless `waits`, is not there. A waiting reader that goes away gives its place up.
   */
  claim(key: string, digest: number, waits: boolean, gone: AbortSignal): Promise<Offer> {
    return new Promise((resolve, reject) => {
      this.requireFresh(key)
      const known = this.entries.get(key)
      if (known === undefined && !waits) throw new OfferError('is unknown here')
      const entry = known ?? this.entryOf(key)
      if (entry.isClaimed) throw new OfferError('was used before')
      if (entry.reader !== null) throw new OfferError('is waited for by another request')
      const { offer } = entry
      if (offer !== null) {
        requirePrompt(offer, digest)
        entry.isClaimed = true
        this.startLease(key, entry)
        resolve(offer)
        return
      }
      this.await(key, entry, { resolve, reject, digest, gone })
    })
  }

  /** A reader has what it wanted, or wants it no more (`isRead` false). False if that comes too late. */
  done(key: string, isRead: boolean): boolean {
    const entry = this.entries.get(key)
    if (entry === undefined || entry.offer === null) return false
    this.counts[isRead ? 'pulled' : 'abandoned']++
    this.end(key, entry, 'was used before')
    return true
  }

  /** Its prefill failed or was aborted, or took too long: whoever waits is told. */
  drop(key: string, reason: string): void {
    const entry = this.entries.get(key)
    if (entry === undefined) return
    if (entry.offer !== null) this.counts.abandoned++
    this.end(key, entry, reason)
  }

  /** Gives everything up. */
  close(): void {
    for (const key of [...this.entries.keys()]) this.drop(key, 'ended with its engine')
  }

  private await(
    key: string,
    entry: Entry,
    {
      resolve,
      reject,
      digest,
      gone,
    }: {
      resolve: (offer: Offer) => void
      reject: (error: unknown) => void
      digest: number
      gone: AbortSignal
    },
  ): void {
    const leave = (): void => {
      entry.reader = null
      if (entry.isOwned) this.drop(key, 'lost its reader')
      else this.entries.delete(key)
      entry.onLost?.()
      reject(new OfferError('was given up by its reader'))
    }
    if (gone.aborted) return leave()
    gone.addEventListener('abort', leave, { once: true })
    const settled = (): void => gone.removeEventListener('abort', leave)
    entry.reader = {
      resolve: offer => {
        settled()
        if (offer.digest === digest) return resolve(offer)
        entry.isClaimed = false
        reject(new OfferError('is of another prompt'))
      },
      reject: error => {
        settled()
        reject(error)
      },
    }
    entry.onReader?.()
  }

  private requireFresh(key: string): void {
    const reason = this.ended.get(key)
    if (reason !== undefined) throw new OfferError(reason)
  }

  private entryOf(key: string): Entry {
    const known = this.entries.get(key)
    if (known !== undefined) return known
    if (this.entries.size >= MOST_ENTRIES) throw new OfferError(`is one of over ${MOST_ENTRIES}: too many`)
    const entry: Entry = {
      isOwned: false,
      offer: null,
      release: nothing,
      isClaimed: false,
      reader: null,
      onReader: null,
      onLost: null,
      cancelTimer: nothing,
    }
    this.entries.set(key, entry)
    return entry
  }

  private startLease(key: string, entry: Entry): void {
    entry.cancelTimer()
    entry.cancelTimer = this.timing.after(this.leaseMs, () => {
      this.counts.expired++
      this.end(key, entry, 'has expired')
    })
  }

  private end(key: string, entry: Entry, reason: string): void {
    entry.cancelTimer()
    this.entries.delete(key)
    this.ended.set(key, reason)
    if (this.ended.size > MOST_REMEMBERED) {
      const [oldest] = this.ended.keys()
      if (oldest !== undefined) this.ended.delete(oldest)
    }
    if (entry.offer !== null) this.counts.live--
    entry.reader?.reject(new OfferError(reason))
    entry.reader = null
    entry.release()
  }
}

function requirePrompt(offer: Offer, digest: number): void {
  if (offer.digest !== digest) throw new OfferError('is of another prompt')
}
