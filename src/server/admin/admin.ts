/**
 * The admin port: health, metrics, pods and explanations, on the main thread, apart from the public port so that a
 * network policy can keep it inside.
 */

import type { CacheLook } from '../../data/cache-ages.js'
import type { Discovery } from '../../data/discovery/discovery.js'
import type { KvEvents } from '../../data/kv-events/kv-events.js'
import type { SharedState } from '../../data/native.js'
import type { Pod, PodRegistry, PodSpec } from '../../data/pod-registry.js'
import type { PrepareQueueHandle } from '../../data/prepare-queue.js'
import type { Scraper } from '../../data/scrape/scraper.js'
import { PhylloError, toPhylloError } from '../../errors.js'
import { answerError } from '../../execution/error-answer.js'
import type { CounterSums } from '../../telemetry/counters.js'
import type { DecisionCounts } from '../../telemetry/decision-log/channel.js'
import type { Logger } from '../../telemetry/log.js'
import { createMetricsPage } from '../../telemetry/prometheus.js'
import type { Decider } from '../decider.js'
import type { BodyFault, Exchange } from '../listener/listener.js'
import { nodeListener } from '../listener/node.js'
import type { ModelTable } from '../model-table.js'
import { requestId } from '../request-id.js'
import type { SplitKeeper } from '../split-keeper.js'
import { explainer } from './explain.js'
import { gauges } from './gauges.js'
import { podRoutes } from './pods.js'
import { splitRoutes } from './splits.js'

export interface AdminDeps {
  readonly host: string
  readonly port: number
  readonly state: SharedState
  readonly registry: PodRegistry
  readonly decider: Decider
  readonly sums: CounterSums
  readonly splits: SplitKeeper
  readonly models: Pick<ModelTable, 'models'>
  readonly prepareQueue: PrepareQueueHandle
  readonly kvEvents: KvEvents
  readonly scraper: Scraper
  readonly discovery: Discovery
  /** Looks at pods' caches for explanations. */
  readonly look: CacheLook
  /** What became of the decision log's lines; undefined where none is kept. */
  readonly decisionCounts: DecisionCounts | undefined
  readonly log: Logger
  /** One pod, or the ranks of a data-parallel engine. */
  add(spec: PodSpec): Promise<readonly Pod[]>
  remove(id: string): Promise<boolean>
  /** Why the process should be replaced; undefined if it is well. */
  broken(): string | undefined
  /** Why the router is not ready; undefined if it is. */
  notReady(): string | undefined
}

export interface Admin {
  readonly url: string
  close(): Promise<void>
}

/** What an admin route answers: JSON, or text of a type. */
export interface AdminAnswer {
  readonly status: number
  readonly body: unknown
  readonly type?: string
}

/** Admin bodies are pods and requests to explain; the latter may hold a long prompt. */
const BODY_CAP = 64 * 1024 * 1024
const BODY_TIMEOUT_MS = 30_000

export type AdminRoute = (
  exchange: Exchange,
  match: RegExpExecArray,
  body: Buffer,
) => Promise<AdminAnswer> | AdminAnswer

export async function startAdmin(deps: AdminDeps): Promise<Admin> {
  const routes = adminRoutes(deps)
  const handle = (exchange: Exchange) => {
    exchange.readBody(BODY_CAP, BODY_TIMEOUT_MS, (body, fault) => {
      if (body === null) {
        if (fault !== null) refuseBody(exchange, fault)
        return
      }
      respond(routes, exchange, body).catch((error: unknown) => fail(exchange, toPhylloError(error)))
    })
  }
  const options = {
    host: deps.host,
    port: deps.port,
    shared: false,
    maxHeaderBytes: 16 * 1024,
    onError: (error: unknown) => deps.log.error({ err: error }, 'an admin route failed'),
  }
  const listener = nodeListener.create(options, handle)
  const port = await listener.listen()
  const host = deps.host.includes(':') ? `[${deps.host}]` : deps.host
  return { url: `http://${host}:${port}`, close: () => listener.close() }
}

type RouteTable = readonly (readonly [method: string, path: RegExp, route: AdminRoute])[]

function adminRoutes(deps: AdminDeps): RouteTable {
  const metrics = createMetricsPage(deps.sums, gauges(deps))
  return [
    ['GET', /^\/healthz$/, () => liveness(deps)],
    ['GET', /^\/readyz$/, () => readiness(deps)],
    [
      'GET',
      /^\/metrics$/,
      async () => ({ status: 200, body: await metrics(), type: 'text/plain; version=0.0.4' }),
    ],
    ['POST', /^\/explain$/, explainer(deps)],
    ...podRoutes(deps),
    ...splitRoutes(deps),
  ]
}

function liveness({ broken }: AdminDeps): AdminAnswer {
  const reason = broken()
  return reason === undefined
    ? { status: 200, body: { status: 'ok' } }
    : { status: 503, body: { status: 'broken', reason } }
}

function readiness({ notReady }: AdminDeps): AdminAnswer {
  const reason = notReady()
  return reason === undefined
    ? { status: 200, body: { status: 'ready' } }
    : { status: 503, body: { status: 'not ready', reason } }
}

async function respond(routes: RouteTable, exchange: Exchange, body: Buffer): Promise<void> {
  const known = routes.filter(([, path]) => path.test(exchange.path))
  const method = exchange.method === 'HEAD' ? 'GET' : exchange.method
  const route = known.find(([verb]) => verb === method)
  if (route === undefined) {
    const code = known.length > 0 ? 'method_not_allowed' : 'path_not_found'
    return fail(exchange, new PhylloError(code, `no ${exchange.method} ${exchange.path} on the admin port`))
  }
  const match = route[1].exec(exchange.path)
  if (match === null) return fail(exchange, new PhylloError('path_not_found', exchange.path))
  const answer = await route[2](exchange, match, body)
  const text = answer.type === undefined ? JSON.stringify(answer.body, null, 2) : String(answer.body)
  exchange.begin(answer.status, ['content-type', answer.type ?? 'application/json'])
  exchange.end(answer.status === 204 ? undefined : `${text}\n`)
}

function refuseBody(exchange: Exchange, fault: BodyFault): void {
  if (fault === 'too_large')
    fail(exchange, new PhylloError('body_too_large', `the body is over ${BODY_CAP} bytes`))
  else if (fault === 'timeout') {
    const message = `the body did not come within ${BODY_TIMEOUT_MS} ms`
    fail(exchange, new PhylloError('request_timeout', message))
  }
}

function fail(exchange: Exchange, error: PhylloError): void {
  if (!exchange.closed)
    answerError(exchange, error, { requestId: requestId(exchange.header('x-request-id')) })
}
