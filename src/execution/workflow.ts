/**
 * A workflow: which steps a request takes, over which pods. Stages run one after the other, the steps of a stage
 * together. Each step has its pool, its selector profile, its request, its deadline and its failure policy. Single
 * dispatch is the workflow with one step; prefill/decode is one with two. A new engine's protocol is a new file in
 * workflows/, never a new HTTP handler.
 *
 * What a step makes for later ones is a slot of the request's context, typed as the decision layer's are: a step that
 * reads a slot which no stage before it writes does not compile (workflow-builder.ts), and for a workflow from YAML it is
 * an error when the file is loaded.
 */
import type { CacheHint } from '../data/cache-hint.js'
import type { LatencyWeights } from '../data/latency-weights.js'
import type { PodInfo, PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { AnySlot, Reader, Writer } from '../decision/slot.js'

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

/** The request's context but for its slots, of which a step sees those that it declares. */
export type StepContext = Omit<RoutingContext, 'get' | 'set'>

/** What is known when a step makes its request. `R`: slots that it reads; `Pods`: steps whose pod is picked by then. */
export interface StepInput<R extends AnySlot = AnySlot, Pods extends string = string> {
  readonly ctx: StepContext & Reader<R>
  /** The pod it goes to. */
  readonly pod: PodInfo
  /** The client's address as text, for `x-forwarded-for`; empty if unknown. */
  readonly clientAddress: string
  /** Drawn anew for each try of a stage, and the same for all its steps: what hand-offs are named by. */
  readonly attemptId: string
  /** The pod of a step of this stage, or of one before it. */
  podOf(step: Pods): PodInfo
  /**
   * What the pod was thought to hold of the prompt when it was booked. Asked of the native core at the first call, for
   * a few µs; undefined where the request's profile does not hash prompts.
   */
  cacheHint(): CacheHint | undefined
}

/** A kept answer of a step that does not go to the client. */
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

/** What the answers' times to the first byte are samples of. */
export type Samples =
  /** What clients wait for: the breaker's average, and the latency model. */
  | 'first-byte'
  /**
   * A prefill alone: for the latency model. Not for the breaker, which compares pods: those that prefill would look sick
   * beside those that decode.
   */
  | 'prefill'
  | 'nothing'

export interface Step<
  N extends string = string,
  R extends AnySlot = AnySlot,
  W extends AnySlot = AnySlot,
  Pods extends string = string,
> {
  readonly name: N
  /**
   * `relay`: the answer goes to the client as it comes. `keep`: it is kept for later steps. `drain`: it is read away.
   * An error answer of a step that is not the relaying one ends the workflow and goes to the client as it is.
   */
  readonly output: 'relay' | 'keep' | 'drain'
  readonly onFailure: FailurePolicy
  /** Name of the profile that selects its pod; absent: the request's own. */
  readonly profile?: string | undefined
  /**
   * Most milliseconds from sending to the end of the answer; of a relayed one, to its first byte. Past it the pod has
   * failed. 0 or absent: the client's time-outs alone.
   */
  readonly deadlineMs?: number | undefined
  readonly samples?: Samples | undefined
  /**
   * Learns from a stream's first byte, `ms` after it was sent; `tokens` of the prompt were not cached on its pod. For
   * what the workflow itself wants to know, besides `samples`.
   */
  readonly learn?: ((tokens: number, ms: number) => void) | undefined
  /**
   * Its prompt is computed by another step, so that its pod's queue of prompt tokens does not grow by it.
   */
  readonly prefilled?: boolean | undefined
  /**
   * A pod that was picked for it in advance is picked again when it starts. Not for protocols whose earlier steps name
   * the pod of this one.
   */
  readonly repick?: boolean | undefined
  /** What it reads of earlier steps' results. */
  readonly reads?: readonly R[] | undefined
  /** Where the result goes that `read` makes of its answer. */
  readonly writes?: W | undefined
  /** Pods that the step chooses among; absent: the request's own pool. */
  pool?(ctx: RoutingContext, pods: PodView): Pool
  request(input: StepInput<R, Pods>): StepRequest
  /**
   * Takes from a kept answer what later steps need, into slots; answers why not, where the answer is not what the
   * protocol says: the pod has failed then.
   */
  read?(answer: StepResult, ctx: StepContext & Writer<R, W>): string | undefined
  /** Whether a kept answer is good enough for the client; then it is the client's, and no later step runs. */
  suffices?(answer: StepResult, ctx: RoutingContext): boolean
  /**
   * A second pod gets the request too where the first has sent nothing after so many milliseconds; who answers first,
   * answers. Undefined: not known yet, so no.
   */
  hedgeAfterMs?(ctx: RoutingContext): number | undefined
}

export interface Stage {
  readonly steps: readonly Step[]
  /**
   * Where to begin again when a step of this stage has failed: a stage's index, 0 for those whose hand-off can be taken
   * once. Absent: this stage.
   */
  readonly restartAt?: number | undefined
}

/** What a workflow's choice is made from. */
export interface ChoiceInput {
  readonly ctx: RoutingContext
  /** The pod picked tentatively. */
  readonly pod: PodInfo
  /** Prompt tokens that it would have to compute. */
  readonly uncachedTokens: number
  /** The fleet; loads of all its pods, as they were before the pick, are the columns of `ctx.lane`. */
  readonly pods: PodView
  /** What is known of the pods' times to the first byte; undefined where nobody learns it. */
  readonly latency: LatencyWeights | undefined
}

/** Between a workflow and a shorter way, made for each request. */
export interface Choice {
  /** Step whose pod is picked tentatively, in advance. */
  readonly step: string
  /** The shorter way; its first step gets the pod picked. */
  readonly otherwise: Workflow
  /** Why the shorter way is taken; undefined: it is not. */
  why(input: ChoiceInput): string | undefined
  /** Why it was not, for the decision record; asked right after `why`, of the same input, where there is a record. */
  whyNot?(input: ChoiceInput): string
}

export interface Workflow {
  readonly name: string
  /** The last one has the step that relays. */
  readonly stages: readonly Stage[]
  /** Whether it is for this request at all; why not, in a few words: then `fallback` serves it. */
  readonly unfit?: ((ctx: RoutingContext) => string | undefined) | undefined
  readonly choice?: Choice | undefined
  /** Pods of all steps are picked before the first is sent: a request names later ones. */
  readonly picksAhead?: boolean | undefined
  /** What serves the request where a step has no pod to go to. */
  readonly fallback?: Workflow | undefined
}

/** The step of a workflow that consists of nothing else, without which it would have to be run. */
export function onlyStep({ stages, choice, unfit }: Workflow): Step | undefined {
  const [stage] = stages
  const [step] = stage?.steps ?? []
  const isOnly = stages.length === 1 && stage?.steps.length === 1
  return isOnly && choice === undefined && unfit === undefined && step?.hedgeAfterMs === undefined
    ? step
    : undefined
}

/** All steps, in the order of their stages. */
export const stepsOf = ({ stages }: Workflow): readonly Step[] => stages.flatMap(({ steps }) => steps)

/** Names of the profiles that steps select with, of this workflow and those it may turn to. */
export function profilesOf(workflow: Workflow): ReadonlySet<string> {
  const { choice, fallback } = workflow
  const own = stepsOf(workflow).flatMap(({ profile }) => profile ?? [])
  const others = [choice?.otherwise, fallback].flatMap(other => (other ? [...profilesOf(other)] : []))
  return new Set([...own, ...others])
}
