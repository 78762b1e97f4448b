/**
 * Makes workflows. The builder's types carry the slots written so far, the names of the steps and whether the last stage
 * relays, so that a step which reads what nobody before it writes, has the name of another, names the pod of a step that
 * comes later, or comes behind the one that relays, does not compile.
 */
import type { SlotNotWritten } from '../decision/profile.js'
import type { AnySlot } from '../decision/slot.js'
import { type Choice, type Stage, type Step, stepsOf, type Workflow } from './workflow.js'

/** `unknown` where all that a step reads is written, else the message as a type that no step has. */
type Supplied<N extends string, R extends AnySlot, Have extends string> = [Exclude<R['name'], Have>] extends [
  never,
]
  ? unknown
  : SlotNotWritten<N, Exclude<R['name'], Have>>

/** `unknown` for a name that no step has yet, else the message. */
type New<N extends string, Names extends string> = [N & Names] extends [never]
  ? unknown
  : `two steps are named '${N & Names}'`

/** `unknown` as long as the client's answer is still to come, else the message. */
type Unanswered<N extends string, Last extends Output> = 'relay' extends Last
  ? `step '${N}' comes behind the one that relays`
  : unknown

type Output = Step['output']

/** `unknown` for a step that two pods may be asked for at once, else the message in place of its hedge. */
type Hedgeable<O extends Output> = O extends 'relay'
  ? unknown
  : { readonly hedge?: 'only a step that relays its answer can be hedged' | undefined }
interface NoHedge {
  readonly hedge?: 'a step that runs beside another meets it on one pod, and can not be hedged' | undefined
}

export interface WorkflowOptions {
  readonly choice?: Choice | undefined
  readonly fallback?: Workflow | undefined
  readonly unfit?: Workflow['unfit']
  readonly whole?: Workflow | undefined
  readonly resume?: Workflow['resume']
}

/**
 * Starts a workflow: `workflow('name').step({…}).step({…}).build()`. `ahead`: the pods of all steps are picked before the
 * first is sent, and these steps' may be named by any step; for protocols whose first request tells of the second pod.
 */
export function workflow<const Ahead extends string = never>(
  name: string,
  { ahead }: { readonly ahead?: readonly Ahead[] } = {},
): WorkflowBuilder<never, never, Ahead, never> {
  return new WorkflowBuilder(name, [], ahead)
}

/** `Have`: slots written. `Names`: of the steps. `Ahead`: of those whose pods any may name. `Last`: its last outputs. */
export class WorkflowBuilder<
  Have extends string,
  Names extends string,
  Ahead extends string,
  Last extends Output,
> {
  constructor(
    private readonly name: string,
    private readonly stages: readonly Stage[],
    private readonly ahead: readonly Ahead[] | undefined,
  ) {}

  /** A stage of one step. `restartAt`: see Stage. */
  step<const N extends string, const O extends Output, R extends AnySlot = never, W extends AnySlot = never>(
    step: Step<N, R, W, NoInfer<Names | N | Ahead>> & { readonly output: O } & Supplied<N, R, Have> &
      New<N, Names> &
      Unanswered<N, Last> &
      Hedgeable<O>,
    restartAt?: number,
  ): WorkflowBuilder<Have | W['name'], Names | N, Ahead, O> {
    return new WorkflowBuilder(this.name, [...this.stages, { steps: [step], restartAt }], this.ahead)
  }

  /** A stage of two steps that run together: each may name the other's pod, neither sees the other's result. */
  together<
    const A extends string,
    const B extends string,
    const OA extends Output,
    const OB extends Output,
    RA extends AnySlot = never,
    RB extends AnySlot = never,
    WA extends AnySlot = never,
    WB extends AnySlot = never,
  >(
    first: Step<A, RA, WA, NoInfer<Names | A | B | Ahead>> & { readonly output: OA } & Supplied<A, RA, Have> &
      New<A, Names> &
      Unanswered<A, Last> &
      NoHedge,
    second: Step<B, RB, WB, NoInfer<Names | A | B | Ahead>> & { readonly output: OB } & Supplied<
        B,
        RB,
        Have
      > &
      New<B, Names | A> &
      Unanswered<B, Last | (OA & 'relay' & OB)> &
      NoHedge,
    restartAt?: number,
  ): WorkflowBuilder<Have | WA['name'] | WB['name'], Names | A | B, Ahead, OA | OB> {
    return new WorkflowBuilder(this.name, [...this.stages, { steps: [first, second], restartAt }], this.ahead)
  }

  /** Throws an Error for steps that can't work, so that this never happens on a request. */
  build(options: WorkflowOptions = {}): Workflow {
    const { name, stages, ahead } = this
    const names = stages.flatMap(({ steps }) => steps.map(step => step.name))
    const unknown = ahead?.find(step => !names.includes(step))
    if (unknown !== undefined)
      throw new Error(`workflow '${name}': it has no step '${unknown}' to pick a pod for ahead`)
    return checked({ name, stages, picksAhead: ahead !== undefined, ...options })
  }
}

/** The workflow, if its steps can work; throws an Error that names the fault. */
export function checked(workflow: Workflow): Workflow {
  const fault = workflowFault(workflow)
  if (fault !== undefined) throw new Error(`workflow '${workflow.name}': ${fault}`)
  return workflow
}

function workflowFault(workflow: Workflow): string | undefined {
  const { stages, choice } = workflow
  if (stages.length === 0 || stages.some(({ steps }) => steps.length === 0)) return 'has no steps'
  const steps = stepsOf(workflow)
  const names = steps.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) return `two steps are named '${twice}'`
  const last = stages.at(-1)?.steps ?? []
  if (last.filter(({ output }) => output === 'relay').length !== 1) {
    return 'its last stage must have one step that relays, and no more'
  }
  const early = steps.find(step => step.output === 'relay' && !last.includes(step))
  if (early !== undefined) return `step '${early.name}' relays, which only the last stage can`
  const late = last.find(({ output, read, writes }) => output === 'keep' && (writes !== undefined || !read))
  if (late !== undefined) return `step '${late.name}' of the last stage is kept for nobody`
  const idle = steps.find(({ onFailure }) => onFailure.kind === 'retry' && !(onFailure.attempts >= 1))
  if (idle !== undefined) return `step '${idle.name}' has no attempts`
  if (choice !== undefined && !names.includes(choice.step))
    return `it has no step '${choice.step}' to choose by`
  const skipped = stages.find(
    ({ steps }, i) => steps.some(step => step.skip) && (steps.length > 1 || i === stages.length - 1),
  )
  if (skipped !== undefined)
    return `step '${skipped.steps.find(step => step.skip)?.name}' can only be skipped alone in a stage before the last`
  const bad = stages.findIndex(
    ({ restartAt }, i) => restartAt !== undefined && !(restartAt >= 0 && restartAt <= i),
  )
  if (bad >= 0) return `stage ${bad} begins again at a stage that is not before it`
  return hedgeFault(workflow) ?? slotFault(stages)
}

/** Two pods that have the same request at once can't both take what was handed to one. */
function hedgeFault({ stages, picksAhead }: Workflow): string | undefined {
  for (const [at, { steps, restartAt = at }] of stages.entries()) {
    const step = steps.find(({ hedge }) => hedge !== undefined)
    if (step === undefined) continue
    const what = `step '${step.name}' can't be hedged:`
    if (step.output !== 'relay')
      return `${what} its answer is for later steps (output: ${step.output}), and only one that relays its answer can be`
    if (steps.length > 1) return `${what} it runs beside another step, and they meet on one pod`
    if (picksAhead) return `${what} the workflow picks its pods ahead, and its requests name this one's`
    if (restartAt < at)
      return `${what} it begins again at an earlier step (restartAt), so that what is handed to it can be taken once`
  }
  return undefined
}

/** The builder's types say so too; this is for JavaScript and YAML. */
function slotFault(stages: readonly Stage[]): string | undefined {
  const written = new Set<AnySlot>()
  for (const { steps } of stages) {
    for (const { name, reads = [] } of steps) {
      const missing = reads.find(slot => !written.has(slot))
      if (missing !== undefined)
        return `step '${name}' reads '${missing.name}', which no stage before it writes`
    }
    for (const { writes } of steps) if (writes !== undefined) written.add(writes)
  }
  return undefined
}
