/** The engine's HTTP front: which path does what, and the start of it all. */
import { chooseListener } from '../../server/listener/choose.js'
import type { Exchange } from '../../server/listener/listener.js'
import { Call } from './call.js'
import type { Timing } from './driver.js'
import { type Fault, faultOf } from './faults.js'
import { type InstantAnswers, instantAnswers } from './instant.js'
import type { WireFaults } from './kv-events/wire-faults.js'
import { type EngineOptionsInput, engineOptions } from './options.js'
import { openPublishers } from './rank.js'
import type { EngineStats } from './request.js'
import { ApiError, sendJson } from './respond.js'
import { chat } from './routes/chat.js'
import { completions } from './routes/completions.js'
import * as control from './routes/control.js'
import { embeddings } from './routes/embeddings.js'
import * as info from './routes/info.js'
import { countTokens, messages } from './routes/messages.js'
import { cancelResponse, createResponse, getResponse } from './routes/responses.js'
import { Runtime } from './runtime.js'
import type { EngineTokenizer } from './tokens.js'

/** As much as an engine would take; its own length check comes first for anything sensible. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const BODY_TIMEOUT_MS = 60_000
const MAX_HEADER_BYTES = 64 * 1024

/** Faults and sleep apply to these. */
const inference: Readonly<Record<string, (call: Call) => void>> = {
  'POST /v1/chat/completions': chat,
  'POST /v1/completions': completions,
  'POST /v1/embeddings': embeddings,
  'POST /v1/responses': createResponse,
  'POST /v1/messages': messages,
}

const other: Readonly<Record<string, (call: Call) => void>> = {
  'POST /v1/messages/count_tokens': countTokens,
  'GET /v1/models': info.models,
  'GET /health': info.health,
  'GET /ping': info.health,
  'GET /version': info.version,
  'GET /load': info.load,
  'GET /metrics': info.metrics,
  'POST /tokenize': info.tokenize,
  'POST /detokenize': info.detokenize,
  'GET /sim/stats': info.simulationStats,
  'POST /reset_prefix_cache': control.resetPrefixCache,
  'POST /sleep': control.sleep,
  'POST /wake_up': control.wakeUp,
  'GET /is_sleeping': control.isSleeping,
  'POST /v1/load_lora_adapter': control.loadLora,
  'POST /v1/unload_lora_adapter': control.unloadLora,
}

/** What cannot be told in options: for tests and for callers that have loaded these already. */
export interface EngineParts {
  readonly tokenizer?: EngineTokenizer
  readonly timing?: Timing
  /** What goes wrong with KV events on their way. */
  readonly faults?: WireFaults
}

/** Where a rank publishes its KV events, with the ports that were taken. */
export interface KvEventsAddress {
  readonly endpoint: string
  readonly replay: string | null
}

export interface RunningEngine {
  readonly port: number
  /** `http://host:port` */
  readonly url: string
  /** Ends all connections and stops the model. */
  close(): Promise<void>
  /** By rank; empty if no events are published. */
  readonly kvEvents: readonly KvEventsAddress[]
  stats(): EngineStats
  /** Requests seen, by `METHOD /path`. */
  requests(): Readonly<Record<string, number>>
}

/** Starts an engine in this thread. Rejects if the port is taken or the model directory has no tokenizer. */
export async function startEngine(
  input: EngineOptionsInput = {},
  parts: EngineParts = {},
): Promise<RunningEngine> {
  const options = engineOptions.parse(input)
  const publishers = await openPublishers(options, parts.faults)
  const runtime = new Runtime(options, publishers, parts.tokenizer, parts.timing)
  const instant = options.instant ? instantAnswers(options) : null
  const { factory } = await chooseListener(options.listen)
  const { host } = options
  const listener = factory.create(
    { host, port: options.port, shared: false, maxHeaderBytes: MAX_HEADER_BYTES },
    exchange => receive(runtime, instant, exchange),
  )
  const closeRanks = (): Promise<unknown> => Promise.all(runtime.ranks.map(rank => rank.close()))
  const port = await listener.listen().catch(async (error: unknown) => {
    await closeRanks()
    throw error
  })
  return {
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    async close() {
      await closeRanks()
      await listener.close()
    },
    kvEvents: publishers.flatMap(publisher =>
      publisher === null ? [] : [{ endpoint: publisher.endpoint, replay: publisher.replayEndpoint }],
    ),
    stats: () => runtime.stats(),
    requests: () => Object.fromEntries(runtime.requests),
  }
}

function receive(runtime: Runtime, instant: InstantAnswers | null, exchange: Exchange): void {
  const route = `${exchange.method} ${exchange.path}`
  runtime.requests.set(route, (runtime.requests.get(route) ?? 0) + 1)
  if (exchange.method === 'GET') {
    answer(runtime, exchange, Buffer.alloc(0))
    return
  }
  exchange.readBody(MAX_BODY_BYTES, BODY_TIMEOUT_MS, body => {
    if (body === null) return refuseBody(exchange)
    if (instant?.answer(exchange, body) !== true) answer(runtime, exchange, body)
  })
}

function refuseBody(exchange: Exchange): void {
  if (!exchange.closed)
    sendJson(exchange, 413, ApiError.badRequest('Request body too large or too slow').toBody())
}

function answer(runtime: Runtime, exchange: Exchange, body: Buffer): void {
  const handler = inference[`${exchange.method} ${exchange.path}`]
  if (handler === undefined) {
    run(new Call(runtime, exchange, body, null), describe)
    return
  }
  const fault = faultOf(exchange, runtime.options, runtime.random)
  const call = new Call(runtime, exchange, body, fault?.name === 'die' ? (fault.amount ?? 3) : null)
  if (fault !== null && misbehave(call, fault, handler)) return
  run(call, handler)
}

/** Everything but inference: a fixed path, or a stored response by its id. */
function describe(call: Call): void {
  const { method, path } = call.exchange
  const handler = other[`${method} ${path}`]
  const [, id, cancel] = /^\/v1\/responses\/([^/]+)(\/cancel)?$/.exec(path) ?? []
  if (handler !== undefined) handler(call)
  else if (id !== undefined && method === 'GET' && cancel === undefined) getResponse(call, id)
  else if (id !== undefined && method === 'POST' && cancel !== undefined) cancelResponse(call, id)
  else throw new ApiError(404, 'NotFoundError', 'Not Found')
}

/** True if the fault was the answer. */
function misbehave(call: Call, fault: Fault, handler: (call: Call) => void): boolean {
  const { exchange } = call
  switch (fault.name) {
    case 'error':
      sendJson(
        exchange,
        fault.amount ?? 500,
        new ApiError(fault.amount ?? 500, 'InternalServerError', 'simulated').toBody(),
      )
      return true
    case 'refuse':
      exchange.abort()
      return true
    case 'hang':
      exchange.onAborted(() => undefined)
      return true
    case 'garbage':
      exchange.begin(200, ['content-type', 'application/json'])
      exchange.end('\u0001{"choices":[{"mess')
      return true
    case 'slow-headers': {
      const cancel = call.runtime.timing.after(fault.amount ?? 1000, () => run(call, handler))
      exchange.onAborted(cancel)
      return true
    }
    case 'die':
      return false
  }
}

function run(call: Call, handler: (call: Call) => void): void {
  const { exchange, runtime } = call
  if (exchange.closed) return
  try {
    if (runtime.isAsleep && inference[`${exchange.method} ${exchange.path}`] !== undefined) {
      throw new ApiError(503, 'ServiceUnavailable', 'The engine is sleeping.')
    }
    handler(call)
  } catch (error) {
    const known = error instanceof ApiError ? error : new ApiError(500, 'InternalServerError', String(error))
    const isAnthropic = exchange.path.startsWith('/v1/messages')
    sendJson(exchange, known.status, isAnthropic ? anthropicError(known) : known.toBody())
  }
}

/** Anthropic's error object, with its types for the statuses that occur here. */
function anthropicError({ status, message }: ApiError): object {
  const types: Readonly<Record<number, string>> = { 400: 'invalid_request_error', 404: 'not_found_error' }
  return { type: 'error', error: { type: types[status] ?? 'api_error', message } }
}
