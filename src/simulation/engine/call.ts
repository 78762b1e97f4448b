/** One request to the engine: its body, its id, and the ways to answer it. */
import type { z } from 'zod'
import type { Exchange } from '../../server/listener/listener.js'
import { ApiError, dieSoon, EventStream, sendJson, sendText } from './respond.js'
import type { Runtime } from './runtime.js'

export class Call {
  /** Seconds since the epoch. */
  readonly created = Math.floor(Date.now() / 1000)
  /** The client's own request id if it sent one (vLLM's `--enable-request-id-headers`), else a random one. */
  readonly id: string

  /** @param dieAfter break the connection after so many pieces of the answer; null: never */
  constructor(
    readonly runtime: Runtime,
    readonly exchange: Exchange,
    readonly bytes: Buffer,
    private readonly dieAfter: number | null,
  ) {
    this.id = exchange.header('x-request-id') ?? runtime.newId()
  }

  /** The body, checked; throws vLLM's 400. */
  parse<S extends z.ZodType>(schema: S): z.output<S> {
    const result = schema.safeParse(this.parseJson())
    if (!result.success) throw ApiError.invalid(result.error)
    return result.data
  }

  json(status: number, body: object): void {
    if (this.dieAfter === null) {
      sendJson(this.exchange, status, body)
      return
    }
    const text = JSON.stringify(body)
    this.exchange.begin(status, ['content-type', 'application/json'])
    this.exchange.write(text.slice(0, text.length / 2))
    dieSoon(this.exchange)
  }

  text(status: number, text: string, type?: string): void {
    sendText(this.exchange, status, text, type)
  }

  stream(): EventStream {
    return new EventStream(this.exchange, this.dieAfter)
  }

  private parseJson(): unknown {
    try {
      const value: unknown = JSON.parse(this.bytes.toString('utf8'))
      return value
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      const line = `  {'type': 'json_invalid', 'loc': 'body', 'msg': 'JSON decode error', 'ctx': '${reason}'}`
      throw new ApiError(400, 'Bad Request', `1 validation error:\n${line}`, 'body')
    }
  }
}
