/** The engine's HTTP front: which path does what, and the start of it all. */
import { chooseListener } from '../../server/listener/choose.js'
import type { Exchange, ListenerFactory } from '../../server/listener/listener.js'
import { Call } from './call.js'
import type { Timing } from './driver.js'
import { answerFault, type FaultLeg, misbehave } from './faults.js'
import { Front } from './front.js'
import type { KvAddress } from './hand-off/connector.js'
import type { HandOffCounts } from './hand-off/counters.js'
import { type InstantAnswers, instantAnswers } from './instant.js'
import type { WireFaults } from './kv-events/wire-faults.js'
import { type EngineOptions, type EngineOptionsInput, engineOptions } from './options.js'
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
import * as simulation from './routes/simulation.js'
import { Runtime } from './runtime.js'
import type { EngineTokenizer } from './tokens.js'

/** As much as an engine would take; its own length check comes first for anything sensible. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const BODY_TIMEOUT_MS = 60_000

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
  'GET /sim/stats': simulation.simulationStats,
  'GET /sim/hand-offs': simulation.handOffs,
  'GET /sim/fault': simulation.getFault,
  'POST /sim/fault': simulation.setFault,
  'POST /sim/listen': simulation.stopListening,
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
  /** Where other engines reach it for hand-offs (side channel or bootstrap server); null if none does. */
  readonly kvAddress: KvAddress | null
  /** Its name in hand-offs. */
  readonly engineId: string
  /** What became of its hand-offs so far. */
  handOffs(): Readonly<HandOffCounts>
  /**
   * Misbehaves from now on, as `--fault` says (null: no more), on requests of that leg, so many times. Throws a
   * RangeError for a text that is no fault.
   */
  setFault(fault: string | null, leg?: FaultLeg, times?: number): void
  /** Stops listening, or listens again on the same port; the model goes on, and so do hand-offs. */
  setListening(isWanted: boolean): Promise<void>
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
  const closeModel = async (): Promise<void> => {
    await Promise.all([runtime.handOff.close(), ...runtime.ranks.map(rank => rank.close())])
  }
  const front = new Front(options, await listenerFactory(options), exchange =>
    receive(runtime, instant, exchange),
  )
  try {
    await runtime.handOff.open(runtime.ranks)
    await front.listen()
  } catch (error) {
    await closeModel()
    throw error
  }
  runtime.closeFor = ms => front.closeFor(ms)
  const { host } = options
  return {
    port: front.port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${front.port}`,
    async close() {
      await closeModel()
      await front.close()
    },
    kvEvents: publishers.flatMap(publisher =>
      publisher === null ? [] : [{ endpoint: publisher.endpoint, replay: publisher.replayEndpoint }],
    ),
    stats: () => runtime.stats(),
    requests: () => Object.fromEntries(runtime.requests),
    kvAddress: runtime.handOff.address,
    engineId: runtime.handOff.engineId,
    handOffs: () => ({ ...runtime.handOff.counts }),
    setFault: (fault, leg, times) => runtime.faults.set(fault, leg, times),
    setListening: isWanted => (isWanted ? front.listen() : front.close()),
  }
}

const listenerFactory = async ({ listen }: EngineOptions): Promise<ListenerFactory> =>
  (await chooseListener(listen)).factory

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
  const fault = runtime.faults.of(exchange.header('x-sim-fault'), () => runtime.legOf(body))
  const call = new Call(runtime, exchange, body, answerFault(fault))
  if (fault !== null && misbehave(call, fault, () => run(call, handler))) return
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

function run(call: Call, handler: (call: Call) => void): void {
  const { exchange, runtime } = call
  if (exchange.closed) return
  try {
    if (runtime.isAsleep && inference[`${exchange.method} ${exchange.path}`] !== undefined) {
      throw new ApiError(503, 'ServiceUnavailable', 'The engine is sleeping.')
    }
    handler(call)
  } catch (error) {
    const known = ApiError.of(error)
    call.refuse(known)
  }
}
