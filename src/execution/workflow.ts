/**
 * A workflow: ordered steps, each with a selector (which profile, which pool), a request transform and a failure
 * policy. The executor runs it. Single dispatch is the workflow with one step; prefill/decode is one with two. A new
 * engine's protocol is a new file in workflows/, never a new HTTP handler.
 */
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'

/** What a step sends. The body is the client's own bytes unless the step must change a field. */
export interface StepRequest {
  readonly method: string
  /** Path and query, below the pod's base path. */
  readonly path: string
  /** name, value, name, value, …: without hop-by-hop, host and framing headers. */
  readonly headers: string[]
  readonly body: Uint8Array | null
}

/** What is known when a step makes its request. */
export interface StepInput {
  readonly ctx: RoutingContext
  /** The pod it goes to. */
  readonly pod: PodInfo
  /** Answers of earlier steps that were buffered, by step name. */
  readonly results: ReadonlyMap<string, StepResult>
}

/** A buffered answer of a step that does not go to the client. */
export interface StepResult {
  readonly pod: PodInfo
  readonly status: number
  readonly headers: readonly string[]
  readonly body: Buffer
}

/**
 * What to do when a step's pod fails before a byte went to the client: give up, or try the next best pod, at most
 * `attempts` pods in all.
 */
export type FailurePolicy = { readonly kind: 'fail' } | { readonly kind: 'retry'; readonly attempts: number }

export interface Step {
  readonly name: string
  /** `relay`: the answer goes to the client as it comes. `buffer`: it is kept for later steps. */
  readonly output: 'relay' | 'buffer'
  readonly onFailure: FailurePolicy
  request(input: StepInput): StepRequest
}

export interface Workflow {
  readonly name: string
  /** The last step, and only that, relays. Checked when the workflow is made. */
  readonly steps: readonly Step[]
}
