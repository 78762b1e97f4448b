/**
 * SGLang's disaggregation: the same request goes to both engines at once, with the prefill's bootstrap server and a
 * room. The prefill waits for the decode engine to come to the room, computes, and hands over; the decode engine waits
 * for that. Either gives up after its time-out. After SGLang 0.5.23's scheduler.py, io_struct.py and
 * disaggregation/common/ (source): an engine with a part to play refuses what has no room, with 400, and answers 500
 * for a transfer that fails, streamed or not.
 *
 * Stricter than SGLang: several answers to a prompt, for which SGLang has one room and where it hangs, arrays of the wrong length, a decode without a host, a room that was used before and another
 * prompt in the room are refused. The prefill answers once its blocks are ready, SGLang's once they have been read.
 */
import { z } from 'zod'
import type { Connector, KvAddress, Leg, LegRequest } from './connector.js'
import { failed, type HandOffContext, malformed, requireNoPromptLogprobs } from './context.js'
import { Holder } from './holder.js'
import { OfferError } from './offers.js'
import { kvPortOf, kvTimeoutMs } from './options.js'
import { PullError, pull } from './pull.js'
import { type Bootstrap, bootstrapsOf, RoomError } from './rooms.js'
import { baseUrl, openSideChannel, type SideChannel } from './side-channel.js'

const severalBody = z.looseObject({ n: z.number().nullish() })

export async function openSglang(context: HandOffContext): Promise<Connector> {
  const { options } = context
  const holder = new Holder(context, true, () => true)
  const routes = { ...holder.routes, 'GET /health': () => ({ status: 200, body: 'OK' }) }
  return new Sglang(
    context,
    holder,
    options.role === 'prefill' ? await openSideChannel(options, routes) : null,
  )
}

class Sglang implements Connector {
  constructor(
    private readonly context: HandOffContext,
    private readonly holder: Holder,
    private readonly channel: SideChannel | null,
  ) {}

  get address(): KvAddress | null {
    return this.channel?.address ?? null
  }

  open(request: LegRequest): Leg {
    if (Number(severalBody.safeParse(request.call.fields()).data?.n ?? 1) !== 1)
      throw malformed(this.context, 'all answers of a prompt would have one room', 'n')
    try {
      const { call, pieces } = request
      // SGLang makes a chat of it, and leaves the fields of hand-offs out.
      const fields = call.exchange.path === '/v1/messages' ? {} : call.fields()
      const bootstraps = bootstrapsOf(fields, call.bytes, pieces.length)
      return this.channel === null ? this.decode(request, bootstraps) : this.prefill(request, bootstraps)
    } catch (error) {
      if (error instanceof RoomError) throw malformed(this.context, error.message, error.field)
      throw error
    }
  }

  async close(): Promise<void> {
    this.holder.offers.close()
    await this.channel?.close()
  }

  private prefill({ rank, pieces }: LegRequest, bootstraps: readonly Bootstrap[]): Leg {
    const { offers } = this.holder
    const rooms = bootstraps.map(({ room }) => room)
    const isTaken = rooms.map(() => false)
    let heard = (): void => undefined
    let fail = (_: unknown): void => undefined
    let leave = (): void => undefined
    const dropAll = (reason: string): void => {
      for (const room of rooms) offers.drop(room, reason)
    }
    rooms.forEach((room, at) => {
      try {
        const come = (): void => {
          isTaken[at] = true
          heard()
        }
        offers.reserve(room, come, () => fail(failed(this.context, lostMessage(room))))
      } catch (error) {
        for (const mine of rooms.slice(0, at)) offers.drop(mine, 'was given up with another of its request')
        if (!(error instanceof OfferError)) throw error
        throw new RoomError('bootstrap_room', `bootstrap room ${room} ${error.message}`)
      }
    })
    return {
      holds: true,
      watch: end => {
        fail = end
      },
      arrive: () =>
        new Promise((resolve, reject) => {
          const limitMs = kvTimeoutMs(this.context.options)
          const cancel = this.context.timing.after(limitMs, () => {
            const late = rooms.find((_, at) => isTaken[at] === false)
            const why = `timed out after ${limitMs / 1000}s in KVPoll.Bootstrapping`
            dropAll(why)
            reject(failed(this.context, `Prefill bootstrap failed: bootstrap_room=${late} ${why}`))
          })
          leave = () => {
            cancel()
            reject(new Error('was aborted'))
          }
          heard = () => {
            if (isTaken.includes(false)) return
            cancel()
            leave = () => undefined
            resolve(rooms.map(() => ({ tokens: 0 })))
          }
          heard()
        }),
      finished: (at, end) => {
        const [room, piece] = [rooms[at], pieces[at]]
        if (room === undefined || piece === undefined) end.release()
        else this.holder.offer(room, rank, piece, end)
      },
      abort: () => {
        dropAll('was aborted by its prefill')
        leave()
      },
    }
  }

  private decode({ call, rank, pieces }: LegRequest, bootstraps: readonly Bootstrap[]): Leg {
    const { options } = this.context
    requireNoPromptLogprobs(this.context, call)
    if (bootstraps.some(({ host }) => host === null))
      throw new RoomError('bootstrap_host', 'bootstrap_host is missing: the host of the prefill engine')
    const gone = new AbortController()
    const receive = (piece: LegRequest['pieces'][number], at: number) => {
      const { host = null, port = null, room: key = '' } = bootstraps[at] ?? {}
      const url = baseUrl({ host: host ?? '', port: port ?? kvPortOf(options) })
      return pull(this.context, { url, key, rank, piece, gone: gone.signal }).catch((error: unknown) => {
        if (!(error instanceof PullError)) throw error
        // The other rooms of the request are of no use any more.
        gone.abort()
        throw failed(this.context, `Decode transfer failed: bootstrap_room=${key} ${error.message}`)
      })
    }
    return { arrive: () => Promise.all(pieces.map(receive)), abort: () => gone.abort() }
  }
}

const lostMessage = (room: string): string =>
  `Prefill transfer failed: bootstrap_room=${room} Aborted by its decode engine.`
