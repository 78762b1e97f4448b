/** Metrics of requests that are served in steps: the ways they took, how long the steps were, what failed. */
import { Counter, type Registry } from 'prom-client'
import {
  type CounterSums,
  ERROR_CODES,
  HEDGE_FATES,
  JUDGEMENTS,
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
  const byModel = <W extends string>(
    { name, help, label }: { readonly name: string; readonly help: string; readonly label: string },
    words: readonly W[],
    countOf: (row: number, word: W) => number,
  ) =>
    new Counter({
      name,
      help,
      labelNames: ['model', label],
      registers,
      collect() {
        this.reset()
        for (const [model, row] of modelRows(source)) {
          for (const word of words) {
            const count = countOf(row, word)
            if (count > 0) this.inc({ model, [label]: word }, count)
          }
        }
      },
    })
  byModel(
    {
      name: 'phyllo_workflow_ways_total',
      help: 'Requests of workflows that can split them, by way: over several pods (split), short or mostly cached and so on one (direct), by the fallback, because a step had no pod or the request can not be split (fallback).',
      label: 'way',
    },
    WAYS,
    (row, way) => sums.way(row, way),
  )
  byModel(
    {
      name: 'phyllo_hedges_total',
      help: 'Second copies of requests whose first pod was silent for long: sent, and of those won (it answered), lost (the first pod did) and failed; and those that were not sent, because the budget was spent (refused) or there was no other pod (no_pod).',
      label: 'result',
    },
    HEDGE_FATES,
    (row, fate) => sums.hedges(row, fate),
  )
  byModel(
    {
      name: 'phyllo_cascade_answers_total',
      help: 'Requests that were put to a cheap model first, by the model asked for: its answer was good enough (sufficed), or why the request went on.',
      label: 'result',
    },
    JUDGEMENTS,
    (row, judgement) => sums.judgements(row, judgement),
  )
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
