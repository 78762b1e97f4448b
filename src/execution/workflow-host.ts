/** What a workflow's run asks of the request that it belongs to. */
import type { RoutingContext } from '../decision/context.js'
import type { PhylloError } from '../errors.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { ExecuteOptions, ExecutionParts, Leg } from './step-host.js'
import type { StepResult } from './workflow.js'

/** The request that the run is of; the rest of what a step asks for comes from it too. */
export interface WorkflowHost {
  readonly parts: ExecutionParts
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  /** Profiles that steps name. */
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  picked(): void
  answering(): void
  /** The client's answer is a kept one. */
  answer(result: StepResult): void
  relayed(leg: Leg | undefined, podFailed: boolean): void
  failed(error: PhylloError, begun: boolean, leg?: Leg): void
}
