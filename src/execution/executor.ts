/** Executor: serves requests by their workflows, each an execution of its own (execution.ts). */
import { OUTCOME } from '../data/native.js'
import type { RoutingContext } from '../decision/context.js'
import { PhylloError } from '../errors.js'
import { Execution } from './execution.js'
import type { ExecutorParts } from './executor-parts.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { ExecuteOptions } from './step-host.js'
import type { Workflow } from './workflow.js'

/** One per worker. */
export class Executor {
  readonly #live = new Set<Execution>()
  readonly #requestTicks: number

  constructor(private readonly parts: ExecutorParts) {
    this.#requestTicks = parts.watchdog.ticks(parts.requestMs)
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#live.size
  }

  /**
   * Serves the request. The context belongs to the executor from here on and goes back to its pool at the end; the
   * sink gets exactly one answer, or is aborted. Never throws. `stepProfiles`: those that the workflow's steps name.
   */
  execute(
    ctx: RoutingContext,
    profile: SelectingProfile,
    workflow: Workflow,
    sink: ClientSink,
    options: ExecuteOptions,
    stepProfiles: ReadonlyMap<string, SelectingProfile> = noProfiles,
  ): void {
    const lastTick = this.parts.watchdog.tick + this.#requestTicks
    const route = { profile, workflow, stepProfiles }
    const execution = new Execution(this.parts, ctx, route, sink, options, lastTick, this.#live)
    execution.start()
  }

  /** Ends all requests under way, as a shutdown whose grace is over must; answers their number. */
  cutOff(): number {
    const count = this.#live.size
    const error = new PhylloError('shutting_down', 'the router is shutting down')
    for (const execution of this.#live) execution.end(error, OUTCOME.cancelled)
    return count
  }
}

const noProfiles: ReadonlyMap<string, SelectingProfile> = new Map()
