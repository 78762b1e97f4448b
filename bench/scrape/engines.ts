/**
 * Engines of the scrape bench, in a process of their own: any number of pods on one port, told apart by their base path,
 * with recorded pages for answers. The first message says which page; the port is the answer. As uvicorn does, head and
 * body are written one after the other.
 */
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { ALL_NEEDLES } from '#phyllo/data/scrape/needles.js'
import { answerOrders } from '../lib/orders.js'
import { rootDir } from '../lib/results.js'

export interface EnginesOrder {
  /** Name of a recorded page, without its ending. */
  readonly page: string
  /** Whether `?name[]=…` leaves only those metrics on the page, as with vLLM. */
  readonly byName: boolean
}

interface Answer {
  readonly head: Buffer
  readonly body: Buffer
}

let whole: Answer
let named: Answer

function answerOf(page: string): Answer {
  const body = Buffer.from(page)
  const head =
    'HTTP/1.1 200 OK\r\ndate: Fri, 21 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\n' +
    `content-length: ${body.length}\r\ncontent-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n`
  return { head: Buffer.from(head), body }
}

/** The lines of the metrics that a scraper may ask for. */
function linesByName(page: string): string {
  const names = ALL_NEEDLES.map(({ metric }) => metric)
  const own = (line: string) => names.some(name => new RegExp(`^(?:# \\w+ )?${name}[ {]`).test(line))
  return page
    .split('\n')
    .filter(own)
    .map(line => `${line}\n`)
    .join('')
}

function serve(socket: Socket): void {
  let text = ''
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', piece => {
    text += piece.toString('latin1')
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const { head, body } = text.slice(0, end).includes('?name') ? named : whole
      text = text.slice(end + 4)
      socket.write(head)
      socket.write(body)
    }
  })
}

const server = createServer(serve)
answerOrders(async ({ page, byName }: EnginesOrder): Promise<number> => {
  const text = readFileSync(`${rootDir}test/fixtures/captures/metrics/${page}.txt`, 'utf8')
  whole = answerOf(text)
  named = byName ? answerOf(linesByName(text)) : whole
  if (!server.listening) await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the engines listen on no port')
  return address.port
})
process.once('disconnect', () => process.exit(0))
