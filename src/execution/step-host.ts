/** What a step asks of the request that it belongs to, and what that sees of a step under way. */
import type { PodRef } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { ErrorCode, PhylloError } from '../errors.js'
import type { Answers } from './answers.js'
import type { ExecutionEvents } from './events.js'
import type { Lease, LeaseOutcome } from './lease.js'
import type { Relay } from './relay.js'
import type { SelectingProfile, Selector } from './selector.js'
import type { ClientSink } from './sink.js'
import type { StepPeers } from './step-input.js'
import type { UpstreamClient } from './upstream/client.js'
import type { Step, StepResult } from './workflow.js'

/** What a request may bring along besides its context. */
export interface ExecuteOptions {
  /** The client's address as text, for `x-forwarded-for`; empty if unknown. */
  readonly clientAddress: string
  /** Called with the id of a Responses API answer, once it is seen, and the pod that gave it. */
  readonly onResponseId?: ((id: string, pod: PodRef) => void) | undefined
}

/** What the steps of all requests of a worker use. */
export interface ExecutionParts {
  readonly selector: Selector
  readonly pods: PodView
  readonly client: UpstreamClient
  readonly events: ExecutionEvents
  /** Reads the answers that are relayed; absent: nobody does. */
  readonly answers?: Answers | undefined
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** A step under way. */
export interface Leg {
  readonly step: Step
  /** The pod that has the request, or had it last. */
  readonly pod: PodInfo | undefined
  /** Pods sent to. */
  readonly attempts: number
  /** Status of its answer; 0 before its head is here. */
  readonly status: number
  /** Milliseconds of the clock when it was sent. */
  readonly sentAt: number
  /** Its answer has begun. */
  readonly answered: boolean
  /** Over, one way or another: whole, failed or ended from outside. */
  readonly over: boolean
  /** Of an answer that goes to the client. */
  readonly relay: Relay | undefined
  /** Picks a pod and sends. */
  start(): void
  /** Sends to a pod that was picked before. */
  startOn(lease: Lease, attempts: number): void
  /** Ends it from outside: the connection is closed at once, the booking given back. */
  cancel(outcome: LeaseOutcome): void
  /** Ends it where nobody waits for its answer any longer, and keeps its connection if little of that is left. */
  letGo(): void
  /** Its deadline has passed: the pod has failed. */
  expire(): void
}

/** The request that steps belong to. */
export interface StepHost {
  readonly parts: ExecutionParts
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  /** What the step may know of others; absent where it is the only one. */
  readonly peers?: StepPeers | undefined
  /** A pod was booked. */
  picked(): void
  /** The step's answer is about to become the client's. False: another step's is, and this one was ended. */
  mayAnswer(leg: Leg): boolean
  /** The first byte of the answer that goes to the client is here. */
  answering(): void
  /** The step's answer was kept, or read away (undefined). `fault`: it is not what the protocol says. */
  kept(leg: Leg, result: StepResult | undefined, fault: string | undefined): void
  /**
   * The step's pod failed and nothing went to the client. True: the host sees to it, and has ended the step. Absent: the
   * step itself goes on with its next best pod.
   */
  takeOver?(leg: Leg, cause: ErrorCode): boolean
  /** False: another step's answer is the client's by now, and nothing is sent again beside it. Absent: true. */
  mayResend?(): boolean
  /** An answer went to the client, whole; `podFailed`: it is the 5xx of a pod. */
  relayed(leg: Leg, podFailed: boolean): void
  /** The step failed. `begun`: part of an answer went out, and its relay has ended it. */
  failed(error: PhylloError, begun: boolean, leg?: Leg): void
}
