/** What an executor is made of, and what it is told of a request. */
import type { RoutingContexts } from '../decision/context.js'
import type { SelectingProfile } from './selector.js'
import type { ExecutionParts } from './step-host.js'
import type { Watchdog } from './watchdog.js'
import type { Workflow } from './workflow.js'

export interface ExecutorParts extends ExecutionParts {
  readonly contexts: RoutingContexts
  readonly watchdog: Watchdog
  /** Most milliseconds of a whole request, retries included; 0 = no limit. */
  readonly requestMs: number
}

/** How a request is served. */
export interface Route {
  readonly profile: SelectingProfile
  readonly workflow: Workflow
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
}
