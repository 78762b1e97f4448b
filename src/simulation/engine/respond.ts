/** Answers in vLLM's shapes. */
import type { z } from 'zod'
import type { Exchange } from '../../server/listener/listener.js'
import type { AnswerFault } from './faults.js'

const JSON_HEADERS = ['content-type', 'application/json']
const SSE_HEADERS = ['content-type', 'text/event-stream; charset=utf-8']

/** A refusal with an HTTP status, thrown by handlers before the answer has begun. */
export class ApiError extends Error {
  override readonly name = 'ApiError'

  constructor(
    readonly status: number,
    readonly type: string,
    message: string,
    readonly param: string | null = null,
  ) {
    super(message)
  }

  static notFound(message: string, param: string): ApiError {
    return new ApiError(404, 'NotFoundError', message, param)
  }

  static badRequest(message: string, param: string | null = null): ApiError {
    return new ApiError(400, 'BadRequestError', message, param)
  }

  /** vLLM's rendering of its validator's errors, as far as zod tells the same. */
  static invalid(error: z.ZodError): ApiError {
    const lines = error.issues.map(issue => {
      const loc = ['body', ...issue.path.map(String)].join('.')
      const isMissing = issue.code === 'invalid_type' && issue.message.includes('undefined')
      return isMissing
        ? `  {'type': 'missing', 'loc': '${loc}', 'msg': 'Field required'}`
        : `  {'type': '${issue.code}', 'loc': '${loc}', 'msg': '${issue.message}'}`
    })
    const first = error.issues[0]
    const param = first === undefined ? null : ['body', ...first.path.map(String)].join('.')
    const count = `${lines.length} validation error${lines.length === 1 ? '' : 's'}`
    return new ApiError(400, 'Bad Request', `${count}:\n${lines.join('\n')}`, param)
  }

  /** Whatever was thrown: what is not a refusal is the engine's own fault. */
  static of(error: unknown): ApiError {
    return error instanceof ApiError ? error : new ApiError(500, 'InternalServerError', String(error))
  }

  /** SGLang's form, without an envelope. */
  toFlatBody(): object {
    return { object: 'error', message: this.message, type: this.type, param: this.param, code: this.status }
  }

  toBody(): object {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.status } }
  }
}

export function sendJson(exchange: Exchange, status: number, body: object): void {
  if (exchange.closed) return
  exchange.begin(status, JSON_HEADERS)
  exchange.end(JSON.stringify(body))
}

export function sendText(exchange: Exchange, status: number, text: string, type = 'text/plain'): void {
  if (exchange.closed) return
  exchange.begin(status, ['content-type', type])
  exchange.end(text)
}

/** The end is a reset, which may overtake what is on its way: so the client gets time to read what was sent. */
const DEATH_PAUSE_MS = 20

/** Breaks the connection off in the middle of an answer. */
export function dieSoon(exchange: Exchange): void {
  setTimeout(() => exchange.abort(), DEATH_PAUSE_MS)
}

/** A JSON answer that goes wrong half-way. */
export function sendFaulty(exchange: Exchange, status: number, body: object, fault: AnswerFault): void {
  if (exchange.closed) return
  const text = JSON.stringify(body)
  const half = Math.floor(text.length / 2)
  exchange.begin(status, JSON_HEADERS)
  exchange.write(text.slice(0, half))
  if (fault.kind === 'die') dieSoon(exchange)
  if (fault.kind === 'slow') setTimeout(() => exchange.end(text.slice(half)), fault.pauseMs)
}

/** A stream of server-sent events that waits for a slow client. What waits is at most one answer. */
export class EventStream {
  private waiting: string[] = []
  private isBlocked = false
  private isEnding = false
  private isDying = false
  private isBegun = false
  private isPaused = false
  private sent = 0

  /** @param fault what goes wrong with it, after how many events */
  constructor(
    private readonly exchange: Exchange,
    private readonly fault: AnswerFault | null = null,
  ) {
    exchange.onWritable(() => {
      if (!this.isPaused) this.resume()
    })
  }

  /** Whether anything has been sent: before that, an answer with another status is still possible. */
  get hasBegun(): boolean {
    return this.isBegun
  }

  /** `data: …` with a JSON object or a literal such as `[DONE]`; `event: …` before it if the event has a name. */
  send(data: object | string, name?: string): void {
    const text = typeof data === 'string' ? data : JSON.stringify(data)
    this.sendRaw(name === undefined ? `data: ${text}\n\n` : `event: ${name}\ndata: ${text}\n\n`)
  }

  sendRaw(text: string): void {
    if (this.isDying) return
    this.begin()
    if (this.fault !== null && this.sent++ === this.fault.after) this.goWrong(this.fault)
    if (this.isDying) return
    if (this.isBlocked) this.waiting.push(text)
    else this.isBlocked = !this.exchange.write(text)
  }

  end(): void {
    if (this.isDying) return
    this.begin()
    if (this.waiting.length > 0) this.isEnding = true
    else this.exchange.end()
  }

  private begin(): void {
    if (this.isBegun) return
    this.isBegun = true
    this.exchange.begin(200, SSE_HEADERS)
  }

  private goWrong({ kind, pauseMs }: AnswerFault): void {
    if (kind === 'slow') {
      this.isBlocked = true
      this.isPaused = true
      setTimeout(() => {
        this.isPaused = false
        if (!this.exchange.closed) this.resume()
      }, pauseMs)
      return
    }
    this.isDying = true
    if (kind === 'die') dieSoon(this.exchange)
  }

  private resume(): void {
    this.isBlocked = false
    const text = this.waiting.join('')
    this.waiting = []
    if (text !== '') this.isBlocked = !this.exchange.write(text)
    if (this.isEnding) this.exchange.end()
  }
}
