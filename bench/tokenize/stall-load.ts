/**
 * The load of the stall bench, in a process of its own: chats of 400 KB, each of which the router has never seen, beside
 * short ones. Runs for the time it is told, then reports.
 */
import { readFileSync } from 'node:fs'
import { Pool } from 'undici'
import { answerOrders } from '../lib/orders.js'

export interface StallOrder {
  readonly origin: string
  /** Text that the long prompts are made of. */
  readonly textFile: string
  readonly longConnections: number
  readonly shortConnections: number
  readonly ms: number
}
export interface StallReport {
  /** Answers by status. */
  readonly long: Readonly<Record<number, number>>
  readonly short: Readonly<Record<number, number>>
  /** Milliseconds of the short ones, sorted. */
  readonly shortMs: readonly number[]
}

const LONG_BYTES = 400_000
/** Shorter than what a tokenizer remembers as one piece, so that a new word in each makes all of them new. */
const SLICE = 1_000
/** Short chats of a connection wait in between: they are to feel the loop, not to fill it. */
const SHORT_PAUSE_MS = 5
/** After a refusal a client waits, too. */
const RETRY_PAUSE_MS = 20

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const chat = (content: string): string =>
  JSON.stringify({ model: 'bench', messages: [{ role: 'user', content }], max_tokens: 8 })

function* longBodies(text: string): Generator<string, never> {
  const slices = Array.from({ length: LONG_BYTES / SLICE }, (_, i) => text.slice(i * SLICE, (i + 1) * SLICE))
  for (let count = 1; ; count++) yield chat(slices.join(` new${count * 7919} `))
}

async function run(order: StallOrder): Promise<StallReport> {
  const { longConnections, shortConnections, ms } = order
  const bodies = longBodies(readFileSync(order.textFile, 'latin1').replace(/[^ -~]/g, ' '))
  const pool = new Pool(order.origin, { connections: longConnections + shortConnections, pipelining: 1 })
  const headers = ['content-type', 'application/json']
  const end = performance.now() + ms
  const send = async (body: string, counts: Record<number, number>): Promise<number> => {
    const answer = await pool.request({ path: '/v1/chat/completions', method: 'POST', headers, body })
    await answer.body.text()
    counts[answer.statusCode] = (counts[answer.statusCode] ?? 0) + 1
    return answer.statusCode
  }
  const [long, short]: Record<number, number>[] = [{}, {}]
  const shortMs: number[] = []
  const sendLong = async () => {
    while (performance.now() < end) {
      if ((await send(bodies.next().value, long ?? {})) !== 200) await pause(RETRY_PAUSE_MS)
    }
  }
  const sendShort = async () => {
    while (performance.now() < end) {
      const began = performance.now()
      await send(chat('Hello, how are you?'), short ?? {})
      shortMs.push(performance.now() - began)
      await pause(SHORT_PAUSE_MS)
    }
  }
  await Promise.all([
    ...Array.from({ length: longConnections }, sendLong),
    ...Array.from({ length: shortConnections }, sendShort),
  ])
  await pool.close()
  return { long: long ?? {}, short: short ?? {}, shortMs: shortMs.sort((a, b) => a - b) }
}

answerOrders(run)
