/** Metrics of requests that are served in steps: the ways they took, how long the steps were, what failed. */
import { Counter, type Registry } from 'prom-client'
import {
  type CounterSums,
  ERROR_CODES,
  MODEL_ROWS,
  RESUMES,
  SECONDS_BUCKETS,
  STEP_NAMES,
  WAYS,
} from './counters.js'
import { SummedHistogram } from './summed-histogram.js'

export interface ModelSource {
  /** Known models, with the numbers that requests are counted by; several names may share one. */
  models(): readonly { readonly id: number; readonly name: string }[]
}

/** What is counted for models beyond the rows, and for requests of none. */
const OTHERS = 'other'

export function workflowMetrics(registry: Registry, sums: CounterSums, source: ModelSource): void {
  const registers = [registry]
  new Counter({
    name: 'phyllo_workflow_ways_total',
    help: 'Requests of workflows that can split them, by way: over several pods (split), short or mostly cached and so on one (direct), by the fallback, because a step had no pod or the request can not be split (fallback).',
    labelNames: ['model', 'way'],
    registers,
    collect() {
      this.reset()
      for (const [model, row] of modelRows(source)) {
        for (const way of WAYS) {
          const count = sums.way(row, way)
          if (count > 0) this.inc({ model, way }, count)
        }
      }
    },
  })
  new Counter({
    name: 'phyllo_resumes_total',
    help: 'Streams that broke off, where their workflow resumes, by result: another pod said the rest (resumed), nothing was missing but the end (whole), they can not be gone on with (unfit), that failed too (failed), the client left meanwhile (cancelled).',
    labelNames: ['result'],
    registers,
    collect() {
      this.reset()
      for (const result of RESUMES) this.inc({ result }, sums.resumes(result))
    },
  })
  new Counter({
    name: 'phyllo_step_failures_total',
    help: 'Steps that failed on a pod, by the cause; a request may go on with another pod.',
    labelNames: ['step', 'cause'],
    registers,
    collect() {
      this.reset()
      for (const step of STEP_NAMES) {
        for (const cause of ERROR_CODES) {
          const count = sums.stepFailures(step, cause)
          if (count > 0) this.inc({ step, cause }, count)
        }
      }
    },
  })
  new SummedHistogram(
    'phyllo_step_duration_seconds',
    "From sending a step's request to the end of its answer; of the step that answers the client, to its first byte. Of requests that are served in steps.",
    SECONDS_BUCKETS,
    () => STEP_NAMES.map((step, i) => [step, sums.stepTimes(i)] as const),
    registry,
    'step',
  )
}

/** Names by row, the first of those that share a number. */
function modelRows(source: ModelSource): Map<string, number> {
  const byRow = new Map<number, string>()
  for (const { id, name } of source.models()) if (id < MODEL_ROWS - 1 && !byRow.has(id)) byRow.set(id, name)
  const rows = new Map([...byRow].map(([row, name]) => [name, row]))
  if (!rows.has(OTHERS)) rows.set(OTHERS, MODEL_ROWS - 1)
  return rows
}
