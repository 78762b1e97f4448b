/**
 * Makes workflows. The builder's types carry the slots written so far and the names of the steps, so that a step which
 * reads what nobody before it writes, or names the pod of a step that comes later, does not compile.
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

export interface WorkflowOptions {
  readonly choice?: Choice | undefined
  readonly picksAhead?: boolean | undefined
  readonly fallback?: Workflow | undefined
  readonly unfit?: Workflow['unfit']
}

/** Starts a workflow: `workflow('name').step({…}).step({…}).build()`. */
export function workflow(name: string): WorkflowBuilder<never, never> {
  return new WorkflowBuilder(name, [])
}

export class WorkflowBuilder<Have extends string, Picked extends string> {
  constructor(
    private readonly name: string,
    private readonly stages: readonly Stage[],
  ) {}

  /** A stage of one step. `restartAt`: see Stage. */
  step<const N extends string, R extends AnySlot = never, W extends AnySlot = never>(
    step: Step<N, R, W, Picked | N> & Supplied<N, R, Have>,
    restartAt?: number,
  ): WorkflowBuilder<Have | W['name'], Picked | N> {
    return new WorkflowBuilder(this.name, [...this.stages, { steps: [step], restartAt }])
  }

  /** A stage of two steps that run together: each may name the other's pod, neither sees the other's result. */
  together<
    const A extends string,
    const B extends string,
    RA extends AnySlot = never,
    RB extends AnySlot = never,
    WA extends AnySlot = never,
    WB extends AnySlot = never,
  >(
    first: Step<A, RA, WA, Picked | A | B> & Supplied<A, RA, Have>,
    second: Step<B, RB, WB, Picked | A | B> & Supplied<B, RB, Have>,
    restartAt?: number,
  ): WorkflowBuilder<Have | WA['name'] | WB['name'], Picked | A | B> {
    return new WorkflowBuilder(this.name, [...this.stages, { steps: [first, second], restartAt }])
  }

  /** Throws an Error for steps that can't work, so that this never happens on a request. */
  build(options: WorkflowOptions = {}): Workflow {
    return checked({ name: this.name, stages: this.stages, ...options })
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
  const late = last.find(step => step.output === 'keep')
  if (late !== undefined) return `step '${late.name}' of the last stage is kept for nobody`
  const idle = steps.find(({ onFailure }) => onFailure.kind === 'retry' && !(onFailure.attempts >= 1))
  if (idle !== undefined) return `step '${idle.name}' has no attempts`
  if (choice !== undefined && !names.includes(choice.step))
    return `it has no step '${choice.step}' to choose by`
  const bad = stages.findIndex(
    ({ restartAt }, i) => restartAt !== undefined && !(restartAt >= 0 && restartAt <= i),
  )
  if (bad >= 0) return `stage ${bad} begins again at a stage that is not before it`
  return slotFault(stages)
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
