/**
 * The load generator, in a process of its own: keep-alive connections, each with one request at a time, until the count
 * is reached. Bodies come over IPC; it answers how many requests succeeded and how long it took.
 */
import { Pool } from 'undici'

export interface LoadOrder {
  readonly origin: string
  readonly bodies: readonly string[]
  readonly connections: number
  readonly requests: number
}
export interface LoadReport {
  readonly ok: number
  readonly failed: number
  readonly seconds: number
}

async function run({ origin, bodies, connections, requests }: LoadOrder): Promise<LoadReport> {
  const pool = new Pool(origin, { connections, pipelining: 1 })
  const headers = ['content-type', 'application/json', 'authorization', 'Bearer sk-bench']
  const began = performance.now()
  let started = 0
  let ok = 0
  let failed = 0
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
      const whole = body.includes('"stream":true') ? text.endsWith('data: [DONE]\n\n') : text.endsWith('}')
      if (statusCode === 200 && whole) ok++
      else failed++
    }
  }
  await Promise.all(Array.from({ length: connections }, worker))
  const seconds = (performance.now() - began) / 1000
  await pool.close()
  return { ok, failed, seconds }
}

process.on('message', (order: LoadOrder) => {
  run(order).then(
    report => process.send?.(report),
    error => {
      console.error(error)
      process.exit(1)
    },
  )
})
