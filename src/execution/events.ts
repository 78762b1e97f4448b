/**
 * What the executor tells whoever counts: telemetry and the server hook in here, and the executor knows neither.
 * Observers run on the request path, so they must be cheap and must not throw.
 */
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { ErrorCode, PhylloError } from '../errors.js'
import type { Lease } from './lease.js'

/** How a request ended: answered (a pod's 4xx counts), failed, or left by the client. */
export type Outcome = 'ok' | 'failed' | 'cancelled'

/** A request when it is over. Times are in milliseconds. */
export interface ExecutionRecord {
  /** The pod whose answer, or whose failure, the client got; undefined if none was picked. */
  readonly pod: PodInfo | undefined
  /** Status sent to the client; 499 if it went away before there was one. */
  readonly status: number
  /** Why the request failed; undefined for an answer that came from a pod. */
  readonly error: PhylloError | undefined
  readonly outcome: Outcome
  /** Pods that the last step was sent to. */
  readonly attempts: number
  /** From start to the first booking: prepare and select; -1 if it did not come to that. */
  readonly decisionMs: number
  /** From start to the first body byte of the relayed answer; -1 if none came. */
  readonly firstByteMs: number
  readonly durationMs: number
  /** Body bytes relayed to the client. */
  readonly bytes: number
}

/**
 * The way that a request of several steps takes: over several pods, on one that computes its prompt as well because
 * little of that is to compute, or by the workflow's fallback.
 */
export type Way = 'split' | 'direct' | 'fallback'

/**
 * What became of a hedge. `sent`: a second pod got the request too; then `won`: its answer is the client's, `lost`: the
 * first pod's is, or `failed`: it came to nothing; none of these where the request ended from outside before. `refused`: it
 * was time, and the budget was spent. `no_pod`: it was time, and there was no second pod to go to.
 */
export type HedgeFate = 'sent' | 'won' | 'lost' | 'failed' | 'refused' | 'no_pod'

/** Why a kept answer is not good enough for the client. `unreadable`: it can't be judged. */
export type Shortfall =
  | 'finish_reason'
  | 'refusal'
  | 'tool_call'
  | 'too_short'
  | 'unsure'
  | 'match'
  | 'unreadable'

/**
 * What became of a step whose answer may be the client's: it was good enough (`sufficed`), or why the request went on;
 * `failed`: its pods have, `no_pod`: there was none.
 */
export type Judgement = 'sufficed' | Shortfall | 'failed' | 'no_pod'

/**
 * What became of a stream that broke off, where its workflow resumes: another pod has said the rest (`resumed`), nothing
 * was missing but its end (`whole`), it could not be gone on with (`unfit`), that failed too (`failed`), or the client
 * left meanwhile (`cancelled`).
 */
export type ResumeResult = 'resumed' | 'whole' | 'unfit' | 'failed' | 'cancelled'

export interface ExecutionEvents {
  /** A pod was booked; attempt counts from 1. */
  onPick(ctx: RoutingContext, lease: Lease, attempt: number): void
  /** That pod failed, and the request goes to another one. */
  onRetry(ctx: RoutingContext, pod: PodInfo, cause: ErrorCode): void
  /** A request of a workflow with several steps goes that way: its first pods are booked. Once for each workflow it enters. */
  onWay(ctx: RoutingContext, way: Way): void
  /**
   * A step of such a request is done on a pod, or (`cause`) has failed there. `ms`: from sending to the end of its answer,
   * or to its first byte where that is the client's.
   */
  onStep(ctx: RoutingContext, step: string, ms: number, cause?: ErrorCode): void
  /** Another pod of the request has failed, and it may have been this one's fault: they meet in the protocol. */
  onDoubt(ctx: RoutingContext, pod: PodInfo): void
  /** A hedge of the request, or the lack of one. */
  onHedge(ctx: RoutingContext, fate: HedgeFate): void
  /** An answer was judged that may be the client's, or did not come. Once for each such step of a request. */
  onJudged(ctx: RoutingContext, judgement: Judgement): void
  /** The stream of such a request broke off. Once per request, before `onDone`. */
  onResume(ctx: RoutingContext, result: ResumeResult): void
  /** Once per request, before its context is given back. */
  onDone(ctx: RoutingContext, record: ExecutionRecord): void
}
