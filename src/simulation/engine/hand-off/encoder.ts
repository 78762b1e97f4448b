/** The part of an engine that turns images and sounds into embeddings, one at a time, and remembers the last ones. */
import { z } from 'zod'
import type { HandOffContext } from './context.js'
import { failed, malformed, pause } from './context.js'
import { mediaOf } from './media.js'
import { askWithin } from './pull.js'
import { baseUrl } from './side-channel.js'

/** 7 MB each: 7 GB, about what vLLM's CPU connector is given. */
const MOST_EMBEDDINGS = 1024

const place = z.looseObject({ peer_host: z.string().min(1), peer_port: z.int().min(1).max(65_535) })
/** Null, or no entry for an item: it is to be encoded here. */
const announcedBody = z.looseObject({ ec_transfer_params: z.record(z.string(), place.nullable()).nullish() })
const FIELD = 'ec_transfer_params'
const embedding = z.object({ size_bytes: z.number().min(0) })

export class Encoder {
  private readonly known = new Set<string>()
  /** Ends when the work so far has ended. */
  private queue: Promise<unknown> = Promise.resolve()

  constructor(private readonly context: HandOffContext) {}

  has(hash: string): boolean {
    return this.known.has(hash)
  }

  /** Whether a request has media whose embeddings are not here. */
  isNeededBy(fields: unknown): boolean {
    return mediaOf(fields).some(hash => !this.known.has(hash))
  }

  /**
   * Refuses what a request tells of embeddings that makes no sense. Stricter than vLLM, which passes over what it does not
   * understand: a router that garbles what the encode engine said would only be slow.
   *
   * @throws ApiError
   */
  check(fields: unknown): void {
    const parsed = announcedBody.safeParse(fields)
    if (!parsed.success) throw malformed(this.context, `${FIELD}: ${parsed.error.issues[0]?.message}`, FIELD)
    const media = mediaOf(fields)
    const foreign = Object.keys(parsed.data.ec_transfer_params ?? {}).find(hash => !media.includes(hash))
    if (foreign !== undefined)
      throw malformed(this.context, `${FIELD} names ${foreign}, which the request has not`, FIELD)
  }

  /**
   * Refuses a request with media of which nobody has told where the embeddings are, where this engine makes none.
   *
   * @throws ApiError
   */
  checkAll(fields: unknown): void {
    if (this.context.options.encodes) return
    const announced = announcedBody.safeParse(fields).data?.ec_transfer_params ?? {}
    const missing = mediaOf(fields).find(hash => !this.known.has(hash) && (announced[hash] ?? null) === null)
    if (missing !== undefined)
      throw malformed(this.context, `no embedding of ${missing}, and this engine has no encoder`, 'messages')
  }

  /**
   * Gets a request's embeddings: from the encode engine that `ec_transfer_params` names, or else, as vLLM does it for
   * a request that still has its media, by encoding here.
   */
  async provide(fields: unknown, gone: AbortSignal): Promise<void> {
    const announced = announcedBody.safeParse(fields).data?.ec_transfer_params ?? {}
    const missing: string[] = []
    for (const hash of new Set(mediaOf(fields))) {
      const place = announced[hash] ?? null
      if (this.known.has(hash)) continue
      if (place !== null && (await this.fetch(hash, place, gone))) this.remember(hash)
      else missing.push(hash)
    }
    if (missing.length > 0 && !this.context.options.encodes)
      throw failed(this.context, `the embedding of ${missing[0]} is gone, and this engine has no encoder`)
    await this.encode(missing, gone)
  }

  /** Encodes what is not known yet, after all that was asked for before. */
  encode(hashes: readonly string[], gone: AbortSignal): Promise<void> {
    const work = this.queue.then(async () => {
      const { options, timing } = this.context
      const fresh = [...new Set(hashes)].filter(hash => !this.known.has(hash))
      if (fresh.length > 0) await pause(timing, (fresh.length * options.encodeMs) / options.speed, gone)
      for (const hash of hashes) this.remember(hash)
    })
    this.queue = work.catch(() => undefined)
    return work
  }

  private async fetch(
    hash: string,
    { peer_host: host, peer_port: port }: { readonly peer_host: string; readonly peer_port: number },
    gone: AbortSignal,
  ): Promise<boolean> {
    const { counts, options, timing } = this.context
    try {
      const answer = await askWithin(this.context, `${baseUrl({ host, port })}/embedding`, { hash }, gone)
      const { size_bytes } = embedding.parse(answer)
      await pause(timing, (size_bytes * 8) / (options.kvBandwidth * 1e6) / options.speed, gone)
      counts.received++
      return true
    } catch (error) {
      if (gone.aborted) throw error
      counts.missed++
      return false
    }
  }

  private remember(hash: string): void {
    this.known.delete(hash)
    this.known.add(hash)
    const [oldest] = this.known
    if (this.known.size > MOST_EMBEDDINGS && oldest !== undefined) this.known.delete(oldest)
  }
}
