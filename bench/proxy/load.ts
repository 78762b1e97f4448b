/**
 * The load generator, in a process of its own: keep-alive connections, each with one request at a time, until the count
 * is reached. Bodies come over IPC, with the answer that each must get byte for byte; it answers how many requests
 * succeeded and how long it took.
 */
import { Pool } from 'undici'
import { answerOrders } from '../lib/orders.js'

export interface LoadOrder {
  readonly origin: string
  readonly bodies: readonly string[]
  /** What the engine answers to every one of the bodies. */
  readonly expected: string
  readonly connections: number
  readonly requests: number
}
export interface LoadReport {
  readonly ok: number
  readonly failed: number
  /** What the first failed request got. */
  readonly failure: string | undefined
  readonly seconds: number
}

async function run({ origin, bodies, expected, connections, requests }: LoadOrder): Promise<LoadReport> {
  const pool = new Pool(origin, { connections, pipelining: 1 })
  const headers = ['content-type', 'application/json', 'authorization', 'Bearer sk-bench']
  const began = performance.now()
  let started = 0
  let ok = 0
  let failure: string | undefined
  const worker = async () => {
    while (started < requests) {
      const body = bodies[started++ % bodies.length] ?? ''
      const { statusCode, body: answer } = await pool.request({
        path: '/v1/chat/completions',
        method: 'POST',
        headers,
        body,
      })
      const text = await answer.text()
      if (statusCode === 200 && text === expected) ok++
      else failure ??= `${statusCode} ${text.slice(0, 300)}`
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
  const seconds = (performance.now() - began) / 1000
  await pool.close()
  return { ok, failed: requests - ok, failure, seconds }
}

answerOrders(run)
