/**
 * A canned engine for the proxy bench, in a process of its own: answers at once, so that what is measured is the
 * router. Streams are 50 HTTP chunks of one token each, `burst` (all in one write) or `paced` (one every 2 ms, as a fast
 * decoding engine does, each in a write of its own). Prints its port.
 *
 * On bare TCP, with answers made in advance. A server library would put the pieces of a burst into one HTTP chunk, where
 * engines send fifty, and it would close idle connections, so that a rival that is not its turn to be measured meets
 * closed ones and has requests fail that only the bench is to blame for.
 */
import { createServer, type Socket } from 'node:net'

const CHUNKS = 50
const PACE_MS = 2
/** In the message, since some routers drop fields that they do not know. */
const PACED_MARK = 'Take your time'

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
const models = JSON.stringify({ object: 'list', data: [{ id: 'bench', object: 'model' }] })

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

const head = (type: string, framing: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${framing}\r\n\r\n`
const whole = (body: string): Buffer =>
  Buffer.from(head('application/json', `content-length: ${Buffer.byteLength(body)}`) + body)
const chunk = (data: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])

const small = whole(answer)
const list = whole(models)
const other = whole('{}')
const chunks = [...events.map(chunk), Buffer.concat([chunk(done), Buffer.from('0\r\n\r\n')])]
const streamHead = Buffer.from(
  head('text/event-stream; charset=utf-8', 'cache-control: no-cache\r\ntransfer-encoding: chunked'),
)
const stream = Buffer.concat([streamHead, ...chunks])

function paced(socket: Socket): void {
  let sent = 0
  const timer = setInterval(() => {
    const next = chunks[sent]
    if (next === undefined || socket.destroyed) return clearInterval(timer)
    socket.write(sent++ === 0 ? Buffer.concat([streamHead, next]) : next)
  }, PACE_MS)
}

function serve(socket: Socket, target: string, body: string): void {
  if (target === '/v1/models') socket.write(list)
  else if (target !== '/v1/chat/completions') socket.write(other)
  else if (!body.includes('"stream":true')) socket.write(small)
  else if (body.includes(PACED_MARK)) paced(socket)
  else socket.write(stream)
}

/** Reads requests with a Content-Length or none, which is what all of the routers send. */
class Reader {
  #text = ''

  constructor(private readonly socket: Socket) {
    socket.setNoDelay(true)
    socket.on('data', piece => {
      this.#text += piece.toString('latin1')
      this.#read()
    })
    socket.on('error', () => socket.destroy())
  }

  #read(): void {
    const end = this.#text.indexOf('\r\n\r\n')
    if (end < 0) return
    const fields = this.#text.slice(0, end)
    if (/\r\ntransfer-encoding:/i.test(fields))
      throw new Error('a chunked request: the canned engine has no parser')
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(fields)?.[1] ?? 0)
    const body = this.#text.slice(end + 4, end + 4 + length)
    if (body.length < length) return
    this.#text = this.#text.slice(end + 4 + length)
    serve(this.socket, fields.split(' ', 2)[1] ?? '', body)
    this.#read()
  }
}

const server = createServer(socket => new Reader(socket))
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') console.log(address.port)
})
process.once('disconnect', () => process.exit(0))
