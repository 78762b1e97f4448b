/**
 * The public port of one worker: from an exchange to a decision under way. Everything that is not inference is answered
 * here; inference is opened by the decider and handed to the executor.
 */
import {
  BODY_KINDS,
  type BodyKind,
  NO_TICKET,
  OUTCOME,
  SUMMARY,
  SUMMARY_WORDS,
  slotOf,
} from '../data/native.js'
import type { RoutingContext } from '../decision/context.js'
import { type ErrorCode, PhylloError } from '../errors.js'
import { answerError } from '../execution/error-answer.js'
import type { ExecutionEvents, ExecutionRecord } from '../execution/events.js'
import type { Executor } from '../execution/executor.js'
import type { ExecuteOptions } from '../execution/step-host.js'
import type { Counters } from '../telemetry/counters.js'
import type { Decider } from './decider.js'
import type { DecisionSampler } from './decision-log.js'
import type { Endpoint, Endpoints } from './endpoints.js'
import type { BodyFault, Exchange } from './listener/listener.js'
import type { LimitOptions } from './options.js'
import type { FleetUpdate } from './protocol.js'
import { requestId } from './request-id.js'

export interface AppParts {
  readonly decider: Decider
  readonly executor: Executor
  readonly endpoints: Endpoints
  readonly counters: Counters
  readonly limits: LimitOptions
  /** Absent: no decision is logged. */
  readonly sampler?: DecisionSampler | undefined
}

const json = ['content-type', 'application/json']

export class App {
  #fleet: FleetUpdate | undefined
  readonly #parts: AppParts
  readonly #onResponseId: ExecuteOptions['onResponseId']

  constructor(parts: AppParts) {
    this.#parts = parts
    this.#onResponseId = (id, pod) => parts.decider.rememberResponse(id, pod)
  }

  update(fleet: FleetUpdate): void {
    const { decider, counters } = this.#parts
    // Not at the start: a worker in a dead one's place goes on with its figures.
    if (this.#fleet !== undefined) {
      for (const { ref } of fleet.pods) {
        if (decider.pods.byRef(ref) === undefined) counters.podJoined(slotOf(ref))
      }
    }
    this.#fleet = fleet
    decider.update(fleet)
  }

  /** The listener's handler. */
  handle(exchange: Exchange): void {
    const endpoint = this.#parts.endpoints.match(exchange.path)
    if (endpoint === undefined) {
      this.#refuse(exchange, 'path_not_found', `no such path: ${exchange.path}`, 'other')
    } else if (endpoint.methods !== null && !endpoint.methods.includes(exchange.method)) {
      this.#wrongMethod(exchange, endpoint.methods)
    } else this.#serve(exchange, endpoint)
  }

  #serve(exchange: Exchange, endpoint: Endpoint): void {
    switch (endpoint.action) {
      case 'infer':
        this.#readBody(exchange, endpoint.kind, body => this.#infer(exchange, endpoint.kind, body))
        break
      case 'models':
        this.#answer(exchange, this.#fleet?.modelList ?? '{"object":"list","data":[]}')
        break
      case 'model':
        this.#model(exchange, endpoint.name)
        break
      case 'response':
        this.#readBody(exchange, 'responses', body => this.#response(exchange, endpoint.id, body))
        break
      case 'passthrough':
        this.#readBody(exchange, 'other', body => this.#passthrough(exchange, body))
        break
    }
  }

  #readBody(exchange: Exchange, kind: BodyKind, then: (body: Buffer) => void): void {
    const { bodyBytes, bodyTimeoutMs } = this.#parts.limits
    exchange.readBody(bodyBytes, bodyTimeoutMs, (body, fault) => {
      if (body !== null) then(body)
      else this.#bodyFault(exchange, kind, fault)
    })
  }

  #bodyFault(exchange: Exchange, kind: BodyKind, fault: BodyFault | null): void {
    const { bodyBytes, bodyTimeoutMs } = this.#parts.limits
    if (fault === 'too_large') {
      this.#refuse(exchange, 'body_too_large', `the body is larger than ${bodyBytes} bytes`, kind)
    } else if (fault === 'timeout') {
      this.#refuse(exchange, 'request_timeout', `the body did not come within ${bodyTimeoutMs} ms`, kind)
    } else {
      this.#parts.counters.answered(BODY_KINDS[kind], 499)
      this.#parts.counters.aborted()
    }
  }

  #infer(exchange: Exchange, kind: BodyKind, body: Buffer): void {
    const { decider } = this.#parts
    const ctx = decider.contexts.take()
    const fault = decider.open(ctx, head(exchange, kind), body)
    if (fault !== undefined) {
      this.#fail(exchange, fault, kind, ctx.request.id)
      decider.contexts.give(ctx)
    } else this.#execute(ctx, exchange)
  }

  /** `/v1/responses/{id}`: only the pod that made the response can answer. */
  #response(exchange: Exchange, id: string, body: Buffer): void {
    const { decider } = this.#parts
    const pool = decider.poolOfResponse(id)
    if (pool === undefined) {
      const message = `no pod here holds the response '${id}': it is unknown, or its pod is gone`
      const error = new PhylloError('response_not_found', message)
      this.#fail(exchange, error, 'responses', requestId(exchange.header('x-request-id')))
      return
    }
    const ctx = decider.contexts.take()
    decider.openRaw(ctx, head(exchange, 'other'), body, pool)
    ctx.pinnedTo = id
    this.#execute(ctx, exchange)
  }

  #passthrough(exchange: Exchange, body: Buffer): void {
    const { decider } = this.#parts
    const ctx = decider.contexts.take()
    const fault = decider.openOther(ctx, head(exchange, 'other'), body)
    if (fault !== undefined) {
      this.#fail(exchange, fault, 'other', ctx.request.id)
      decider.contexts.give(ctx)
    } else this.#execute(ctx, exchange)
  }

  #execute(ctx: RoutingContext, exchange: Exchange): void {
    const { profile, workflow, stepProfiles } = this.#parts.decider.route(ctx)
    this.#parts.sampler?.consider(ctx)
    const options = { clientAddress: exchange.remoteAddress, onResponseId: this.#onResponseId }
    this.#parts.executor.execute(ctx, profile, workflow, exchange, options, stepProfiles)
  }

  /** RFC 9110 §15.5.6: a 405 says what is allowed. */
  #wrongMethod(exchange: Exchange, methods: readonly string[]): void {
    const allow = methods.join(', ')
    const message = `${exchange.path} takes ${allow}, not ${exchange.method}`
    const error = new PhylloError('method_not_allowed', message)
    this.#fail(exchange, error, 'other', requestId(exchange.header('x-request-id')), ['allow', allow])
  }

  #model(exchange: Exchange, name: string): void {
    const entries = this.#fleet?.modelEntries ?? {}
    // An own key only: clients may ask for a model named `constructor`.
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined
    if (entry !== undefined) this.#answer(exchange, entry)
    else this.#refuse(exchange, 'model_not_found', `the model '${name}' does not exist`, 'other')
  }

  #answer(exchange: Exchange, body: string): void {
    exchange.begin(200, [...json, 'x-request-id', requestId(exchange.header('x-request-id'))])
    exchange.end(body)
    this.#parts.counters.answered(BODY_KINDS.other, 200)
  }

  #refuse(exchange: Exchange, code: ErrorCode, message: string, kind: BodyKind): void {
    this.#fail(exchange, new PhylloError(code, message), kind, requestId(exchange.header('x-request-id')))
  }

  #fail(exchange: Exchange, error: PhylloError, kind: BodyKind, id: string, more?: readonly string[]): void {
    this.#parts.counters.answered(BODY_KINDS[kind], error.kind.status)
    this.#parts.counters.error(error.code)
    answerError(exchange, error, { requestId: id, headers: more })
  }
}

function head(exchange: Exchange, kind: BodyKind) {
  const { method, path, query, headers } = exchange
  return { id: requestId(exchange.header('x-request-id')), method, path, query, headers, kind }
}

/** Counts what the executor reports. */
export function countingEvents(counters: Counters): ExecutionEvents {
  const words = new Uint32Array(SUMMARY_WORDS)
  return {
    onPick(ctx, lease, attempt) {
      // Its prompt is counted where it is computed.
      if (lease.isPrefilledElsewhere) return
      const { ref, role = 'mixed' } = lease.pod
      if (role !== 'mixed') counters.prefill(slotOf(ref), lease.uncachedTokens)
      if (attempt > 1 || ctx.ticket === NO_TICKET) return
      ctx.lane.native.summary(ctx.ticket, words)
      const prompt = words[SUMMARY.promptTokens] ?? 0
      // As the booking saw it: what it has just predicted itself is not among what is cached.
      counters.prompt(prompt, Math.max(prompt - lease.uncachedTokens, 0))
    },
    onRetry(_ctx, pod, _cause) {
      counters.retried()
      counters.pod(slotOf(pod.ref), OUTCOME.failed)
    },
    onWay(ctx, way) {
      counters.way(ctx.modelId, way)
    },
    onStep(_ctx, step, ms, cause) {
      if (cause === undefined) counters.stepDone(step, ms / 1000)
      else counters.stepFailed(step, cause)
    },
    onDoubt() {},
    onHedge(ctx, fate) {
      counters.hedge(ctx.modelId, fate)
    },
    onJudged(ctx, judgement) {
      counters.judged(ctx.modelId, judgement)
    },
    onResume(_ctx, result) {
      counters.resumed(result)
    },
    onDone(ctx, record) {
      countDone(counters, ctx, record)
    },
  }
}

function countDone(counters: Counters, ctx: RoutingContext, record: ExecutionRecord): void {
  counters.answered(BODY_KINDS[ctx.request.kind], record.status)
  counters.duration(record.durationMs / 1000)
  if (record.firstByteMs >= 0) counters.firstByte(record.firstByteMs / 1000)
  if (record.decisionMs >= 0) counters.decision(record.decisionMs / 1000)
  counters.relayed(record.bytes)
  if (record.outcome === 'cancelled') counters.aborted()
  if (record.error !== undefined) counters.error(record.error.code)
  if (record.pod !== undefined) counters.pod(slotOf(record.pod.ref), OUTCOME[record.outcome])
}
