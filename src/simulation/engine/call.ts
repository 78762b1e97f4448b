/** One request to the engine: its body, its id, and the ways to answer it. */
import type { z } from 'zod'
import type { Exchange } from '../../server/listener/listener.js'
import type { AnswerFault } from './faults.js'
import { ApiError, EventStream, sendFaulty, sendJson, sendText } from './respond.js'
import type { Runtime } from './runtime.js'

export class Call {
  /** Seconds since the epoch. */
  readonly created = Math.floor(Date.now() / 1000)
  /** The client's own request id if it sent one (vLLM's `--enable-request-id-headers`), else a random one. */
  readonly id: string
  private parsed: { readonly value: unknown } | null = null
  private events: EventStream | null = null

  /** @param fault what goes wrong with the answer on its way */
  constructor(
    readonly runtime: Runtime,
    readonly exchange: Exchange,
    readonly bytes: Buffer,
    private readonly fault: AnswerFault | null,
  ) {
    this.id = exchange.header('x-request-id') ?? runtime.newId()
  }

  /** The body, checked; throws vLLM's 400. */
  parse<S extends z.ZodType>(schema: S): z.output<S> {
    const result = schema.safeParse(this.fields())
    if (!result.success) throw ApiError.invalid(result.error)
    return result.data
  }

  /** The body as JSON; throws vLLM's 400. */
  fields(): unknown {
    this.parsed ??= { value: this.parseJson() }
    return this.parsed.value
  }

  /**
   * Ends in an error, after the handler has returned. A stream has had its 200: vLLM's ends with an error event and
   * [DONE], SGLang's, which waits for its first event before it answers, with the error's own status.
   */
  fail(error: ApiError): void {
    const isSglang = this.runtime.options.kvConnector === 'sglang'
    const { events, exchange } = this
    if (events === null || (isSglang && !events.hasBegun)) {
      sendJson(exchange, error.status, this.errorBody(error))
    } else if (exchange.path === '/v1/messages' || exchange.path === '/v1/responses') {
      events.send({ type: 'error', ...error.toBody() }, 'error')
      events.end()
    } else {
      events.send(error.toBody())
      events.send('[DONE]')
      events.end()
    }
  }

  /** Refuses, from within the handler: with the error's own status, unless a stream has begun. */
  refuse(error: ApiError): void {
    if (this.events?.hasBegun === true) this.fail(error)
    else sendJson(this.exchange, error.status, this.errorBody(error))
  }

  /** An error in the shape of the engine and of the API that was called. */
  errorBody(error: ApiError): object {
    if (this.exchange.path.startsWith('/v1/messages')) return anthropicError(error)
    return this.runtime.options.kvConnector === 'sglang' ? error.toFlatBody() : error.toBody()
  }

  json(status: number, body: object): void {
    if (this.fault === null) sendJson(this.exchange, status, body)
    else sendFaulty(this.exchange, status, body, this.fault)
  }

  text(status: number, text: string, type?: string): void {
    sendText(this.exchange, status, text, type)
  }

  stream(): EventStream {
    this.events = new EventStream(this.exchange, this.fault)
    return this.events
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

/** Anthropic's error object, with its types for the statuses that occur here. */
function anthropicError({ status, message }: ApiError): object {
  const types: Readonly<Record<number, string>> = { 400: 'invalid_request_error', 404: 'not_found_error' }
  return { type: 'error', error: { type: types[status] ?? 'api_error', message } }
}
