/** A worker before some pods: everything that serves requests but the listener and the native core. */

import type { ExecutionContext } from 'ava'
import { LaneView } from '#phyllo/data/lane-view.js'
import {
  FIELDS,
  isPodRef,
  isTicket,
  MAX_SLOTS,
  NO_TICKET,
  type PodRef,
  REFUSED,
} from '#phyllo/data/native.js'
import type { LiveTransfer, PodRole } from '#phyllo/data/pod-role.js'
import { type PodInfo, PodView } from '#phyllo/data/pod-view.js'
import type { TokenForwarding } from '#phyllo/data/token-forwarding.js'
import { type RequestHead, type RoutingContext, RoutingContexts } from '#phyllo/decision/context.js'
import type { ErrorCode } from '#phyllo/errors.js'
import { Answers, type UsageCheck } from '#phyllo/execution/answers.js'
import { fieldsOf } from '#phyllo/execution/body-edit.js'
import type { ExecutionRecord, ResumeResult, Way } from '#phyllo/execution/events.js'
import { Executor } from '#phyllo/execution/executor.js'
import { AnswerRoom } from '#phyllo/execution/kept-answer.js'
import type { Lease } from '#phyllo/execution/lease.js'
import { type SelectingProfile, Selector } from '#phyllo/execution/selector.js'
import type { ClientSink } from '#phyllo/execution/sink.js'
import type { ExecuteOptions } from '#phyllo/execution/step-host.js'
import { UpstreamClient, type UpstreamOptions } from '#phyllo/execution/upstream/client.js'
import { Watchdog } from '#phyllo/execution/watchdog.js'
import type { Workflow } from '#phyllo/execution/workflow.js'
import { singleWorkflow } from '#phyllo/execution/workflows/single.js'
import { addonWith, CountingLane, state } from './kit-lane.js'
import { until } from './kit-until.js'

/** Long enough for a busy machine; the tests of a time-out set their own. */
const upstreamDefaults: UpstreamOptions = {
  connections: 64,
  connectMs: 3_000,
  firstByteMs: 60_000,
  idleMs: 60_000,
  keepAliveMs: 4_000,
}

/** Ranks the pool in order. */
export const inOrder: SelectingProfile = {
  name: 'in-order',
  bookFlags: 0,
  prepare: () => {},
  select(_ctx, pool, ranking) {
    ranking.clear()
    for (let i = 0; i < pool.length; i++) ranking.push(pool.slots[i] ?? 0)
    return pool.length === 0 ? 'no_pod' : 'picked'
  },
}

export interface Given extends Partial<ExecuteOptions> {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly headers?: readonly string[]
  readonly kind?: RequestHead['kind']
  readonly body?: string | Buffer
  readonly profile?: SelectingProfile
  readonly workflow?: Workflow
  /** The number of what was prepared; 0 unless given: nothing was. */
  readonly ticket?: number
  readonly forwarding?: TokenForwarding
  /** The response that it goes on from, which one pod holds. */
  readonly pinnedTo?: string
}

export interface Worker {
  readonly lane: CountingLane
  readonly contexts: RoutingContexts
  readonly client: UpstreamClient
  readonly executor: Executor
  readonly watchdog: Watchdog
  readonly infos: readonly PodInfo[]
  readonly pods: PodView
  readonly retries: ErrorCode[]
  /** Ways that requests of several steps took. */
  readonly ways: Way[]
  /** Their steps that ended: the name, and where one failed the cause behind it. */
  readonly steps: string[]
  /** Pods that another one's failure may have been of. */
  readonly doubts: string[]
  /** What became of hedges, and of answers that may be the client's. */
  readonly hedges: string[]
  readonly judgements: string[]
  /** What became of streams that broke off. */
  readonly resumes: ResumeResult[]
  readonly picks: string[]
  /** What was read in answers. */
  readonly checks: (UsageCheck & { pod: string })[]
  /** LEARNED codes. */
  readonly learned: number[]
  readonly faults: unknown[]
  /** Memory for answers that are learned. */
  readonly room: AnswerRoom
  /** Serves a request into the sink; resolves with its record when it is over. */
  run(sink: ClientSink, given?: Given): Promise<ExecutionRecord>
  /** All that a request holds has been given back. */
  readonly clean: boolean
}

export interface WorkerOptions extends Partial<UpstreamOptions> {
  readonly requestMs?: number
  /** Of every pod. */
  readonly maxInflight?: number
  /** Of each pod. */
  readonly limits?: readonly number[]
  readonly room?: AnswerRoom
  /** Of each pod; 'mixed' unless given. */
  readonly roles?: readonly PodRole[]
  /** Of each pod. */
  readonly labels?: readonly Readonly<Record<string, string>>[]
  /** Of each pod; ['m'] unless given. */
  readonly models?: readonly (readonly string[])[]
  /** Of every pod. */
  readonly kvTransfer?: LiveTransfer
  /** The executor's clock, in milliseconds; that of the process unless given. */
  readonly now?: () => number
}

const refOf = (slot: number): PodRef => {
  const code = MAX_SLOTS + slot
  if (!isPodRef(code)) throw new Error('unreachable')
  return code
}

export function podAt(origin: string, slot: number): PodInfo {
  return {
    ref: refOf(slot),
    id: `pod-${slot}`,
    origin,
    basePath: '',
    models: ['m'],
    labels: {},
    maxInflight: 0,
    rank: undefined,
  }
}

/** A worker before these pods. Checks at the end of the test that nothing leaked. */
export function startWorker(
  t: ExecutionContext,
  origins: readonly string[],
  options: WorkerOptions = {},
): Worker {
  const { requestMs = 0, maxInflight = 0, limits, room = new AnswerRoom(), ...others } = options
  const {
    roles = [],
    models = [],
    labels = [],
    kvTransfer,
    now = () => performance.now(),
    ...upstream
  } = others
  const infos = origins.map((origin, slot) => ({
    ...podAt(origin, slot),
    maxInflight: limits?.[slot] ?? maxInflight,
    role: roles[slot],
    models: models[slot] ?? ['m'],
    labels: labels[slot] ?? {},
    kvTransfer,
  }))
  const lane = new CountingLane()
  const pods = new PodView()
  pods.update(1, infos)
  const contexts = new RoutingContexts(new LaneView(addonWith(lane), state))
  const watchdog = new Watchdog(20)
  const client = new UpstreamClient({ ...upstreamDefaults, ...upstream }, watchdog)
  const retries: ErrorCode[] = []
  const ways: Way[] = []
  const steps: string[] = []
  const doubts: string[] = []
  const hedges: string[] = []
  const judgements: string[] = []
  const resumes: ResumeResult[] = []
  const picks: string[] = []
  const checks: (UsageCheck & { pod: string })[] = []
  const learned: number[] = []
  const faults: unknown[] = []
  const answerEvents = {
    onUsage: (_ctx: RoutingContext, { pod }: Lease, check: UsageCheck) =>
      void checks.push({ ...check, pod: pod.id }),
    onLearned: (code: number) => void learned.push(code),
    onFault: (error: unknown) => void faults.push(error),
  }
  const wholeRoom = room.left
  const waiting = new Map<RoutingContext, (record: ExecutionRecord) => void>()
  const executor = new Executor({
    selector: new Selector(lane, pods),
    pods,
    client,
    contexts,
    watchdog,
    requestMs,
    answers: new Answers(lane, answerEvents, watchdog, room),
    now,
    events: {
      onPick: (_ctx, { pod }) => void picks.push(pod.id),
      onRetry: (_ctx, _pod, cause) => void retries.push(cause),
      onWay: (_ctx, way) => void ways.push(way),
      onResume: (_ctx, result) => void resumes.push(result),
      onStep: (_ctx, step, _ms, cause) => void steps.push(cause === undefined ? step : `${step} ${cause}`),
      onDoubt: (_ctx, { id }) => void doubts.push(id),
      onHedge: (_ctx, fate) => void hedges.push(fate),
      onJudged: (_ctx, judgement) => void judgements.push(judgement),
      onDone(ctx, record) {
        waiting.get(ctx)?.({ ...snapshot(record) })
        waiting.delete(ctx)
      },
    },
  })
  const worker: Worker = {
    lane,
    contexts,
    client,
    executor,
    watchdog,
    infos,
    pods,
    retries,
    ways,
    steps,
    doubts,
    hedges,
    judgements,
    resumes,
    picks,
    checks,
    learned,
    faults,
    room,
    run(sink, given = {}) {
      const ctx = contexts.take()
      fill(ctx, given)
      ctx.pool = pods.pool('m') ?? pods.all
      ctx.poolVersion = pods.version
      return new Promise(resolve => {
        waiting.set(ctx, resolve)
        executor.execute(ctx, given.profile ?? inOrder, given.workflow ?? singleWorkflow({}), sink, {
          clientAddress: '10.1.2.3',
          onResponseId: given.onResponseId,
        })
      })
    },
    get clean() {
      const noneHeld = contexts.inUse === 0 && room.left === wholeRoom
      return lane.idle && noneHeld && watchdog.size === 0 && executor.inFlight === 0
    },
  }
  t.teardown(async () => {
    await client.destroy()
    watchdog.stop()
  })
  return worker
}

function fill(ctx: RoutingContext, given: Given): void {
  ctx.request = {
    id: 'req-1',
    method: given.method ?? 'POST',
    path: given.path ?? '/v1/chat/completions',
    query: given.query ?? '',
    headers: given.headers ?? ['content-type', 'application/json'],
    kind: given.kind ?? 'chat',
  }
  ctx.body = Buffer.from(given.body ?? '{"model":"m"}')
  ctx.stream = ctx.body.includes('"stream":true')
  ctx.model = 'm'
  const { ticket = NO_TICKET } = given
  if (isTicket(ticket)) ctx.ticket = ticket
  ctx.forwarding = given.forwarding
  ctx.pinnedTo = given.pinnedTo ?? ''
  fillFields(ctx)
}

/** Where the body's fields are, as the native core finds them; of a body that is no object, none. */
function fillFields({ body, fields }: RoutingContext): void {
  fields.fill(0)
  let values: (Buffer | undefined)[] = []
  try {
    values = fieldsOf(body, FIELDS)
  } catch {
    return
  }
  for (const [i, value] of values.entries()) {
    if (value === undefined || value.toString('latin1') === 'null') continue
    fields.set([value.byteOffset - body.byteOffset, value.length], i * 2)
  }
}

/** The record is the live object of the request: its getters must be read when it ends. */
function snapshot(record: ExecutionRecord): ExecutionRecord {
  const { pod, status, error, outcome, attempts, decisionMs, firstByteMs, durationMs, bytes } = record
  return { pod, status, error, outcome, attempts, decisionMs, firstByteMs, durationMs, bytes }
}

/** Fails the test unless, shortly after, everything was given back. */
export async function assertClean(t: ExecutionContext, worker: Worker): Promise<void> {
  await until(t, () => worker.clean, 'all bookings, contexts and watches given back')
}

export const allFull = (worker: Worker): void => {
  for (const pod of worker.infos) worker.lane.refuse.set(pod.ref, REFUSED.full)
}
