/** Where a request is in its workflow: at which stage, since when, and where it begins again. */
import { type ErrorCode, PhylloError } from '../errors.js'
import { type Stage, type Step, stepsOf, type Workflow } from './workflow.js'

/**
 * How long what a stage has left for the next is counted on. vLLM holds blocks for 30 s (kv_lease_duration); later it
 * reads what others have written there since, and answers wrongly (test/engines/disaggregated/README.md).
 */
const HAND_OFF_MS = 10_000

export class WorkflowPlace {
  workflow: Workflow
  #at = 0
  /** When the stage was reached, by its own clock. */
  #since = 0

  constructor(
    workflow: Workflow,
    private readonly now: () => number,
  ) {
    this.workflow = workflow
  }

  /** At the beginning of that workflow. */
  enter(workflow: Workflow): void {
    this.workflow = workflow
    this.#at = 0
  }

  /** @throws PhylloError internal_error behind the last stage */
  get stage(): Stage {
    const stage = this.workflow.stages[this.#at]
    if (stage === undefined) throw new PhylloError('internal_error', 'a workflow ran past its last stage')
    return stage
  }

  next(): void {
    this.#at++
    this.#since = this.now()
  }

  /** Back to where the stage begins again. */
  restart(): void {
    this.#at = this.stage.restartAt ?? this.#at
  }

  /** Steps of this stage and those after it, where the pods of all are picked before the first is sent. */
  get pickedAhead(): readonly Step[] | undefined {
    const { stages, picksAhead } = this.workflow
    return picksAhead ? stages.slice(this.#at).flatMap(({ steps }) => steps) : undefined
  }

  /** Steps whose pods may have caused the failure of this one's: those that it meets. */
  meets({ name }: Step): readonly Step[] {
    const steps = this.workflow.picksAhead ? stepsOf(this.workflow) : this.stage.steps
    return steps.filter(other => other.name !== name)
  }

  /**
   * A pod that was never reached has not taken what earlier stages left for it, so that the next one can. Not where
   * these named it, or left it there; nor where a step beside it has already used the attempt's id.
   */
  isUntouched(cause: ErrorCode): boolean {
    const isFresh = this.now() - this.#since < HAND_OFF_MS
    const isAlone = !this.workflow.picksAhead && this.stage.steps.length === 1
    return cause === 'pod_unreachable' && isFresh && isAlone
  }
}
