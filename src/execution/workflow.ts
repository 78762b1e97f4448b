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
import type { Shortfall } from './events.js'
import type { ResumePolicy } from './resume/options.js'

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
  /**
   * What hand-offs are named by: the same for all steps of a workflow, and drawn anew when one has failed and the workflow
   * begins again there, or at the stage's `restartAt`.
   */
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
   * `relay`: the answer goes to the client as it comes. `keep`: it is kept for later steps, or in the last stage for
   * `read` to see whether it is one. `drain`: it is read away.
   * An error answer of a step that is not the relaying one ends the workflow and goes to the client as it is.
   */
  readonly output: 'relay' | 'keep' | 'drain'
  readonly onFailure: FailurePolicy
  /** Name of the profile that selects its pod; absent: the request's own. */
  readonly profile?: string | undefined
  /**
   * Name of the model that it asks, where that is not the request's: its profile must not read what was prepared of the
   * prompt (checked when the configuration is loaded), and nothing of it is booked as cached.
   */
  readonly model?: string | undefined
  /**
   * Most milliseconds from sending to the end of the answer; of a relayed one, to its first byte. Past it the pod has
   * failed. 0 or absent: the client's time-outs alone.
   */
  readonly deadlineMs?: number | undefined
  /**
   * The same for the relayed answer to a request that does not stream: its first byte comes when all of it is there, which
   * takes as long as the client's answer is. 0 or absent: the client's time-outs alone.
   */
  readonly wholeDeadlineMs?: number | undefined
  readonly samples?: Samples | undefined
  /** The beginning of a relayed stream is held back until it says something: until then, an error in it is the pod's. */
  readonly holdsHead?: boolean | undefined
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
  /**
   * Whether a kept answer is good enough for the client: then it is the client's, and no later step runs. Else why not;
   * so too where this throws.
   */
  suffices?(answer: StepResult, ctx: RoutingContext): true | Shortfall
  /**
   * Called where the step's pods have failed, have answered with an error, or there are none: the workflow goes on
   * without it, and what stands for no result goes into its slot. Absent: its failure is the request's. Only for a step
   * that has its stage to itself.
   */
  skip?(ctx: StepContext & Writer<R, W>): void
  /**
   * A second pod gets the request too, where the first has sent nothing for long; who answers first, answers. Only for a
   * step that relays and meets no other: what is handed to one pod can't be taken by two.
   */
  readonly hedge?: Hedge | undefined
}

/** When a second pod gets a request too. One for all requests of a step, in one worker. */
export interface Hedge {
  /** Milliseconds without a byte after which it is time; undefined: not for this request, or not known yet. */
  afterMs(ctx: StepContext): number | undefined
  /** Takes one hedge from what may be spent on them; false: there is nothing left. */
  spend(): boolean
  /**
   * Told what the first byte of a good answer took; of a pod that was hedged and came second, how long it had been
   * waited for by then.
   */
  sample(ctx: StepContext, ms: number): void
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
  readonly whyNot?: ((input: ChoiceInput) => string) | undefined
}

export interface Workflow {
  readonly name: string
  /** The last one has the step that relays. */
  readonly stages: readonly Stage[]
  /** Whether it is for this request at all; why not, in a few words: then `fallback` serves it, or else `whole`. */
  readonly unfit?: ((ctx: RoutingContext) => string | undefined) | undefined
  /** One step, on a pod that serves whole requests: for what it is not for, where there is no fallback. */
  readonly whole?: Workflow | undefined
  readonly choice?: Choice | undefined
  /** Pods of all steps are picked before the first is sent: a request names later ones. */
  readonly picksAhead?: boolean | undefined
  /** Streams that break off are gone on with on another pod; absent: they end with an error event. */
  readonly resume?: ResumePolicy | undefined
  /** What serves the request where a step has no pod to go to. */
  readonly fallback?: Workflow | undefined
}

/** The step of a workflow that consists of nothing else, and whose time nobody need watch; undefined for any other. */
export function onlyStep({ stages, choice, unfit }: Workflow): Step | undefined {
  const [stage] = stages
  const [step] = stage?.steps ?? []
  const isOnly = stages.length === 1 && stage?.steps.length === 1
  if (!isOnly || choice !== undefined || unfit !== undefined) return undefined
  const isTimed = (step?.deadlineMs ?? 0) + (step?.wholeDeadlineMs ?? 0) > 0
  return isTimed || step?.hedge !== undefined ? undefined : step
}

/** Milliseconds that a step's pod has for a request; 0: as long as the time-outs of all requests. */
export function deadlineOf(step: Step, { stream }: StepContext): number {
  const { deadlineMs = 0, wholeDeadlineMs = 0, output } = step
  return output === 'relay' && !stream ? wholeDeadlineMs : deadlineMs
}

/** All steps, in the order of their stages. */
export const stepsOf = ({ stages }: Workflow): readonly Step[] => stages.flatMap(({ steps }) => steps)

/** The same of this workflow and those that it may turn to. */
export function allStepsOf(workflow: Workflow): readonly Step[] {
  const others = [workflow.choice?.otherwise, workflow.whole, workflow.fallback]
  return [...stepsOf(workflow), ...others.flatMap(other => (other ? allStepsOf(other) : []))]
}

/** Names of the profiles that these select with. */
export const profilesOf = (workflow: Workflow): ReadonlySet<string> =>
  new Set(allStepsOf(workflow).flatMap(({ profile }) => profile ?? []))
