/** A thread that asks the index while events come: bursts of queries of 512 blocks, some 4,000 a second. */
import { parentPort, workerData } from 'node:worker_threads'
import { BODY_KINDS, FIELDS, isTicket, loadNative, OPS, SCAN } from '#phyllo/data/native.js'
import { CONVERSATION, type Shape, tokensOf } from './messages.js'

export interface QueryOrders {
  readonly stateName: string
  readonly model: number
  readonly shape: Shape
}

/** Microseconds. */
export interface QueryTimes {
  readonly count: number
  readonly median: number
  readonly p99: number
  /** Without each burst's first, which finds the caches that the pause and the other threads left. */
  readonly warmP99: number
}

const BURST = 20
const PAUSE_MS = 5
/** Different prompts, so that not all that is asked for is in the processor's cache. */
const PROMPTS = 256

const { stateName, model, shape }: QueryOrders = workerData
const addon = loadNative()
const state = addon.SharedState.open(stateName)
const lane = new addon.Lane(state)
const cached = new Uint32Array(state.width)
const tickets = Array.from({ length: PROMPTS }, (_, i) => prepare(i))
const times: number[] = []
const warm: number[] = []

function prepare(prompt: number): number {
  const conversations = Math.max(1, Math.floor((shape.messages * shape.blocks) / CONVERSATION))
  const tokens = tokensOf(Math.floor((prompt * conversations) / PROMPTS))
  // One more than is looked for: a prompt's last token is always computed.
  const body = Buffer.from(JSON.stringify({ model: 'bench', prompt: [...tokens, 1] }))
  const fields = new Uint32Array(2 * FIELDS.length)
  if (lane.scan(body, BODY_KINDS.completions, fields) !== SCAN.ok) throw new Error('a bad body')
  const ticket = lane.prepare(model, OPS.tokenize | OPS.hashBlocks, BODY_KINDS.completions, body, fields)
  if (!isTicket(ticket)) throw new Error(lane.lastError())
  return ticket
}

let next = 0
function burst(): void {
  for (let i = 0; i < BURST; i++) {
    const ticket = tickets[next++ % PROMPTS] ?? 0
    const start = process.hrtime.bigint()
    lane.cachedTokens(ticket, cached)
    const time = Number(process.hrtime.bigint() - start) / 1000
    times.push(time)
    if (i > 0) warm.push(time)
  }
}

function quantile(values: number[], part: number): number {
  const sorted = values.sort((a, b) => a - b)
  return sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN
}

const timer = setInterval(burst, PAUSE_MS)
parentPort?.once('message', () => {
  clearInterval(timer)
  const report: QueryTimes = {
    count: times.length,
    median: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    warmP99: quantile(warm, 0.99),
  }
  parentPort?.postMessage(report)
})
parentPort?.postMessage('ready')
