/**
 * A workflow: ordered steps, each with a selector (which profile, which pool), a request transform and a failure
 * policy. The executor runs it. Single dispatch is the workflow with one step; prefill/decode is one with two. A new
 * engine's protocol is a new file in workflows/, never a new HTTP handler.
 */
import type { CacheHint } from '../data/cache-hint.js'
import type { PodInfo, PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'

/** What a step sends. The body is the client's own bytes unless the step must change a field. */
export interface StepRequest {
  readonly method: string
  /** Path and query, below the pod's base path. */
  readonly path: string
  /** name, value, name, value, …: without hop-by-hop, host and framing headers. */
  readonly headers: string[]
  readonly body: Uint8Array | null
  /** The prompt's token ids are in it in place of its text, so that the engine's count of them tells nothing. */
  readonly asTokens: boolean
}

/** What is known when a step makes its request. */
export interface StepInput {
  readonly ctx: RoutingContext
  /** The pod it goes to. */
  readonly pod: PodInfo
  /** The client's address as text, for `x-forwarded-for`; empty if unknown. */
  readonly clientAddress: string
  /** Answers of earlier steps that were buffered, by step name. */
  readonly results: ReadonlyMap<string, StepResult>
  /**
   * What the pod was thought to hold of the prompt when it was booked. Asked of the native core at the first call, for
   * a few µs; undefined where the request's profile does not hash prompts.
   */
  cacheHint(): CacheHint | undefined
}

/** A buffered answer of a step that does not go to the client. */
export interface StepResult {
  readonly pod: PodInfo
  readonly status: number
  /** name, value, …; names in lower case, without hop-by-hop and framing headers. */
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
  /**
   * `relay`: the answer goes to the client as it comes. `buffer`: it is kept for later steps, if its status is below
   * 400; an error answer ends the workflow and goes to the client as it is.
   */
  readonly output: 'relay' | 'buffer'
  readonly onFailure: FailurePolicy
  /** Pods that the step chooses among; absent: the request's own pool. */
  pool?(ctx: RoutingContext, pods: PodView): Pool
  request(input: StepInput): StepRequest
}

export interface Workflow {
  readonly name: string
  /** The last step, and only that, relays. */
  readonly steps: readonly Step[]
}

/** Makes a workflow, and throws an Error for steps that can't work, so that this never happens on a request. */
export function workflow(name: string, steps: readonly Step[]): Workflow {
  const fault = workflowFault(steps)
  if (fault !== undefined) throw new Error(`workflow '${name}': ${fault}`)
  return { name, steps }
}

function workflowFault(steps: readonly Step[]): string | undefined {
  if (steps.length === 0) return 'has no steps'
  const names = new Set<string>()
  for (const [i, step] of steps.entries()) {
    if (names.has(step.name)) return `two steps are named '${step.name}'`
    names.add(step.name)
    const last = i === steps.length - 1
    if (last && step.output !== 'relay') return `its last step '${step.name}' does not relay`
    if (!last && step.output === 'relay') return `step '${step.name}' relays, which only the last step can`
    const { onFailure } = step
    if (onFailure.kind === 'retry' && !(onFailure.attempts >= 1)) return `step '${step.name}' has no attempts`
  }
  return undefined
}
