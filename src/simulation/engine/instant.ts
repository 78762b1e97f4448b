/**
 * Answers at once with fixed bytes, whatever the prompt: what stands behind a proxy whose own cost is measured must
 * cost next to nothing itself. No JSON is parsed, no model runs.
 */
import type { Exchange } from '../../server/listener/listener.js'
import type { EngineOptions } from './options.js'

const JSON_HEADERS = ['content-type', 'application/json']
const SSE_HEADERS = ['content-type', 'text/event-stream; charset=utf-8']

export interface InstantAnswers {
  /** True if it has answered. */
  answer(exchange: Exchange, body: Buffer): boolean
}

export function instantAnswers(options: EngineOptions): InstantAnswers {
  const head = { id: 'chatcmpl-instant', created: 0, model: options.model }
  const usage = { prompt_tokens: 16, total_tokens: 32, completion_tokens: 16 }
  const message = {
    role: 'assistant',
    content: 'leaf stem golden angle spiral branch root block cache prefix',
  }
  const json = Buffer.from(
    JSON.stringify({
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }],
      usage,
    }),
  )
  const event = (delta: object, finish_reason: string | null): Buffer => {
    const choices = [{ index: 0, delta, logprobs: null, finish_reason }]
    return Buffer.from(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices })}\n\n`)
  }
  const role = event({ role: 'assistant', content: '' }, null)
  const piece = event({ content: ' leaf' }, null)
  const last = Buffer.concat([event({ content: ' end' }, 'stop'), Buffer.from('data: [DONE]\n\n')])
  const chunks = [role, ...Array.from({ length: options.instantChunks - 1 }, () => piece), last]
  return {
    answer(exchange, body) {
      if (exchange.path !== '/v1/chat/completions') return false
      if (isStream(body)) {
        exchange.begin(200, SSE_HEADERS)
        new InstantStream(exchange, chunks).next()
      } else {
        exchange.begin(200, JSON_HEADERS)
        exchange.end(json)
      }
      return true
    },
  }
}

const isStream = (body: Buffer): boolean => body.includes('"stream":true') || body.includes('"stream": true')

/** One chunk per turn of the event loop, so that the proxy sees them one by one as it would an engine's tokens. */
class InstantStream {
  private at = 0
  private isWaiting = false

  constructor(
    private readonly exchange: Exchange,
    private readonly chunks: readonly Buffer[],
  ) {
    exchange.onAborted(() => undefined)
    exchange.onWritable(() => {
      if (this.isWaiting) this.next()
    })
  }

  next(): void {
    this.isWaiting = false
    if (this.exchange.closed) return
    const chunk = this.chunks[this.at++]
    if (chunk === undefined) this.exchange.end()
    else if (this.exchange.write(chunk)) setImmediate(() => this.next())
    else this.isWaiting = true
  }
}
