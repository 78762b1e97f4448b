/**
 * A canned engine for the proxy bench, in a process of its own: answers at once, so that what is measured is the
 * router. Streams come in chunks of a token each, written `burst` (back to back) or `paced` (one a millisecond, as a
 * decoding engine does). Prints its port.
 */
import { chooseListener } from '#phyllo/server/listener/choose.js'
import type { Exchange } from '#phyllo/server/listener/listener.js'

export const CHUNKS = 50
const json = ['content-type', 'application/json']
const sse = ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache']

const answer = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_700_000_000,
  model: 'bench',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'Hello! How can I help you today?' },
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 12, completion_tokens: 9, total_tokens: 21 },
})
const event = (content: string) =>
  Buffer.from(
    `data: ${JSON.stringify({
      id: 'chatcmpl-bench',
      object: 'chat.completion.chunk',
      created: 1_700_000_000,
      model: 'bench',
      choices: [{ index: 0, delta: { content }, finish_reason: null }],
    })}\n\n`,
  )
const events = Array.from({ length: CHUNKS - 1 }, (_, i) => event(` token${i}`))
const done = Buffer.from('data: [DONE]\n\n')

function chat(exchange: Exchange, body: Buffer): void {
  const text = body.toString('latin1')
  if (!text.includes('"stream":true')) {
    exchange.begin(200, json)
    return exchange.end(answer)
  }
  exchange.begin(200, sse)
  if (!text.includes('"user":"paced"')) {
    for (const chunk of events) exchange.write(chunk)
    return exchange.end(done)
  }
  let sent = 0
  const timer = setInterval(() => {
    const chunk = events[sent++]
    if (chunk !== undefined && !exchange.closed) return void exchange.write(chunk)
    clearInterval(timer)
    exchange.end(done)
  }, 1)
}

function handle(exchange: Exchange): void {
  exchange.readBody(64 * 1024 * 1024, 30_000, body => {
    if (exchange.path === '/v1/chat/completions' && body !== null) return chat(exchange, body)
    exchange.begin(200, json)
    exchange.end(
      exchange.path === '/v1/models' ? '{"object":"list","data":[{"id":"bench","object":"model"}]}' : '{}',
    )
  })
}

const { factory } = await chooseListener('auto')
const listener = factory.create({ host: '127.0.0.1', port: 0, shared: false, maxHeaderBytes: 16_384 }, handle)
console.log(await listener.listen())
process.once('disconnect', () => process.exit(0))
