/** Makes workflows of what the configuration file says. Each worker makes its own. */
import type { PodView, Pool } from '../../../data/pod-view.js'
import type { RoutingContext } from '../../../decision/context.js'
import { type Slot, slot } from '../../../decision/slot.js'
import { editBody } from '../../body-edit.js'
import { cleanedWith } from '../../hand-off/client-fields.js'
import { parsedJson } from '../../hand-off/fault.js'
import { batchShape } from '../../hand-off/sglang.js'
import { leg } from '../../leg-request.js'
import { editFields, fieldAt, pathOf } from '../../nested-fields.js'
import { resumePolicy } from '../../resume/options.js'
import type { Samples, Step, StepContext, StepResult, Workflow } from '../../workflow.js'
import { checked } from '../../workflow-builder.js'
import { hedgeBy } from '../hedge.js'
import { unfitFor } from '../prefill-decode/options.js'
import { byThreshold, type WholeWay, wholeOn } from '../prefill-decode/short-way.js'
import {
  bodyEdits,
  headerEdits,
  headerText,
  type Kept,
  type KeptSlots,
  MAX_HEADER_VALUE,
  nestedEdits,
} from './edits.js'
import { outputOf } from './faults.js'
import type { FieldValue } from './request-schema.js'
import { type DescribedStep, type DescribedWorkflow, stagesOf } from './schema.js'

/** Throws an Error for one that can't work; those of a file are checked before, with the places of their faults. */
export function workflowOf(
  name: string,
  described: DescribedWorkflow,
  resolve: (fallback: string) => Workflow,
): Workflow {
  const stages = stagesOf(described)
  const slots = slotsOf(name, stages.flat())
  const inHeaders = headerValues(stages.flat())
  const direct = directOf(described, stages.flat())
  const choice = described.choice &&
    direct && { step: described.choice.step, otherwise: direct, why: byThreshold(described.choice.threshold) }
  return checked({
    name,
    stages: stages.map((steps, i) => ({
      steps: steps.map(step => stepOf(step, slots, inHeaders, i === stages.length - 1)),
      restartAt: restartOf(steps, stages),
    })),
    picksAhead: described.picksAhead,
    unfit: unfitOf(described, stages.flat()),
    whole: direct ?? wholeOf(described, stages),
    choice,
    resume: resumePolicy(described.resume),
    fallback: described.fallback === undefined ? direct : resolve(described.fallback),
  })
}

const slotsOf = (workflow: string, steps: readonly DescribedStep[]): KeptSlots =>
  new Map(
    steps
      .filter(({ keep }) => Object.keys(keep).length > 0)
      .map(({ name }): [string, Slot<string, Kept>] => [name, slot(`${workflow}.${name}`).of<Kept>()]),
  )

function restartOf(
  steps: readonly DescribedStep[],
  stages: readonly (readonly DescribedStep[])[],
): number | undefined {
  const names = steps.flatMap(({ restartAt }) => restartAt ?? [])
  const at = names.map(name => stages.findIndex(stage => stage.some(step => step.name === name)))
  return at.length === 0 ? undefined : Math.min(...at)
}

/** Values that go into headers: `step.value`. */
const headerValues = (steps: readonly DescribedStep[]): ReadonlySet<string> =>
  new Set(steps.flatMap(({ request }) => Object.values(request.headers).flatMap(fromOf)))

/** The kept value that a field or a header is set from. */
const fromOf = (value: FieldValue): string[] =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && value.from !== undefined
    ? [value.from]
    : []

function stepOf(
  described: DescribedStep,
  slots: KeptSlots,
  inHeaders: ReadonlySet<string>,
  isLast: boolean,
): Step {
  const { name, profile, model, attempts, timeoutMs, prefilled, repick, holdsHead } = described
  const { answerTimeoutMs, hedge } = described
  const edits = bodyEdits(described, slots)
  const nested = nestedEdits(described, slots)
  const headers = headerEdits(described, slots)
  const kept = slots.get(name)
  const pool = poolOf(described)
  return {
    name,
    output: outputOf(described, isLast),
    onFailure: { kind: 'retry', attempts },
    profile,
    model,
    deadlineMs: timeoutMs,
    wholeDeadlineMs: answerTimeoutMs,
    samples: samplesOf(described),
    prefilled,
    repick,
    holdsHead,
    ...(hedge && { hedge: hedgeBy(hedge) }),
    reads: readBy(described, slots),
    ...(kept && { writes: kept, read: keeper(described, kept, inHeaders) }),
    ...(described.optional && { skip: ctx => void (kept && ctx.set(kept, new Map())) }),
    ...(pool && { pool }),
    request: input => {
      const { ctx } = input
      const body =
        ctx.body.length > 0 ? editFields(editBody(ctx, cleanedWith(...edits(input))), nested(input)) : null
      return { ...leg(input, own => headers(input, own)), body, asTokens: false }
    },
  }
}

/** A prefill alone teaches the model of latencies; what another step has prefilled, or another model says, nothing. */
function samplesOf({ role, prefilled, model }: DescribedStep): Samples {
  if (prefilled || model !== undefined || role === 'encode') return 'nothing'
  return role === 'prefill' ? 'prefill' : 'first-byte'
}

function readBy({ request }: DescribedStep, slots: KeptSlots): Slot<string, Kept>[] {
  const values = [...Object.values(request.set), ...Object.values(request.headers)]
  const steps = values.flatMap(fromOf).flatMap(from => from.split('.')[0] ?? [])
  return [...new Set(steps)].flatMap(step => slots.get(step) ?? [])
}

function keeper({ name, keep }: DescribedStep, into: Slot<string, Kept>, inHeaders: ReadonlySet<string>) {
  const names = Object.keys(keep)
  const pointers = Object.values(keep)
  const paths = pointers.map(pathOf)
  return (
    { body }: StepResult,
    ctx: { set(slot: Slot<string, Kept>, value: Kept): void },
  ): string | undefined => {
    let values: (Buffer | undefined)[]
    try {
      values = paths.map(path => fieldAt(body, path))
    } catch {
      return 'its answer is no JSON object'
    }
    const kept = new Map<string, Buffer>()
    for (const [i, pointer] of pointers.entries()) {
      const value = values[i]
      // It goes into a request of the router's own, which must not be broken by it.
      const json = value && parsedJson(value)
      if (value === undefined || json === undefined || json === null)
        return `its answer has no ${pointer.slice(1)}`
      const isHeader = inHeaders.has(`${name}.${names[i]}`)
      const length = isHeader ? headerText(value.toString()).length : 0
      if (length > MAX_HEADER_VALUE)
        return `its answer's ${pointer.slice(1)} has ${length} characters as a header, and ${MAX_HEADER_VALUE} are the most`
      kept.set(names[i] ?? pointer, Buffer.from(value))
    }
    ctx.set(into, kept)
    return undefined
  }
}

const noPods: Pool = { slots: new Uint16Array(0), length: 0 }

/** The pods of a step; undefined: the request's own. */
function poolOf({ role, model, labels }: DescribedStep) {
  const wanted = Object.entries(labels)
  if (role === undefined && model === undefined && wanted.length === 0) return undefined
  // A view makes new pools when anything of its pods changes, and the old ones go.
  const narrowed = new WeakMap<Pool, Pool>()
  return (ctx: RoutingContext, pods: PodView): Pool => {
    const name = model ?? ctx.model
    const served = ctx.pinnedTo === '' ? (pods.pool(name) ?? noPods) : ctx.pool
    const all = role === undefined ? served : pods.stepPool(name, role)
    if (wanted.length === 0) return all
    const known = narrowed.get(all)
    if (known !== undefined) return known
    const slots = all.slots.subarray(0, all.length).filter(at => {
      const own = pods.bySlot(at)?.labels
      return wanted.every(([label, value]) => own?.[label] === value)
    })
    const pool = { slots, length: slots.length }
    narrowed.set(all, pool)
    return pool
  }
}

function unfitOf({ protocol }: DescribedWorkflow, steps: readonly DescribedStep[]): Workflow['unfit'] {
  const asksRoom = steps.some(hasRoom)
  // Their pods are not the request's, of which one may hold the response that it goes on from.
  const choosesPods = steps.some(({ role, model }) => role !== undefined || model !== undefined)
  if (protocol === undefined && !asksRoom && !choosesPods) return undefined
  const unfit = protocol && unfitFor(protocol)
  return (ctx: StepContext) => {
    const { body, pinnedTo, request } = ctx
    if (pinnedTo !== '') return `the response '${pinnedTo}' is held by one pod`
    if (body.length === 0) return 'a request without a body has no prompt'
    if (asksRoom && batchShape(ctx, request.kind).batched) return 'a batch needs a room for each prompt'
    return unfit?.(ctx)
  }
}

/** Whether a room is drawn for it. */
const hasRoom = ({ request }: DescribedStep): boolean =>
  Object.values(request.set).some(
    value =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && value.generate === 'room',
  )

/** The whole request on one pod of the step that the choice is made by. */
function directOf({ choice }: DescribedWorkflow, steps: readonly DescribedStep[]): Workflow | undefined {
  const step = steps.find(({ name }) => name === choice?.step)
  return step && wholeOn(wayOf(step, steps))
}

/** One pod has the time of all steps, where each of them has one. */
function wayOf(step: DescribedStep, steps: readonly DescribedStep[]): WholeWay {
  const { profile, attempts, timeoutMs, answerTimeoutMs } = step
  const others = steps.filter(each => each !== step).map(each => each.timeoutMs)
  const sum = (own: number): number =>
    [own, ...others].every(ms => ms > 0) ? others.reduce((all, ms) => all + ms, own) : 0
  return { profile, attempts, deadlineMs: sum(timeoutMs), wholeDeadlineMs: sum(answerTimeoutMs) }
}

/** The same by the step that answers, where there is no choice, of a workflow that is not for all requests. */
function wholeOf(
  described: DescribedWorkflow,
  stages: readonly (readonly DescribedStep[])[],
): Workflow | undefined {
  if (unfitOf(described, stages.flat()) === undefined) return undefined
  const step = stages.at(-1)?.find(each => outputOf(each, true) === 'relay')
  return step && wholeOn(wayOf(step, stages.flat()))
}
