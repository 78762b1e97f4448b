/** What a configured step changes in the client's request. */
import { DEFAULT_TRANSFER } from '../../../data/pod-role.js'
import type { PodInfo } from '../../../data/pod-view.js'
import type { Slot } from '../../../decision/slot.js'
import { drop, type FieldEdit, type Json, set } from '../../body-edit.js'
import { withoutClientHeaders } from '../../hand-off/client-fields.js'
import { prefillEdits } from '../../hand-off/prefill-edits.js'
import { bootstrapHost } from '../../hand-off/sglang.js'
import { roomsFor } from '../../hand-off/sglang-rooms.js'
import { withoutNamed } from '../../headers.js'
import { type NestedEdit, pathOf } from '../../nested-fields.js'
import type { StepInput } from '../../workflow.js'
import type { FieldValue, HeaderValue, PodFact } from './request-schema.js'
import type { DescribedStep } from './schema.js'

/** What steps keep: JSON by name. */
export type Kept = ReadonlyMap<string, Buffer>
export type KeptSlots = ReadonlyMap<string, Slot<string, Kept>>

/** A value of a request as JSON; undefined: the field is left out. */
type Source = (input: StepInput) => Json | undefined

/** The edits of a step's body. */
export function bodyEdits(step: DescribedStep, slots: KeptSlots): (input: StepInput) => FieldEdit[] {
  const { oneToken, noStream, set: fields, drop: dropped } = step.request
  const isTop = (name: string): boolean => pathOf(name).length === 1
  const topOf = (name: string): string => pathOf(name)[0] ?? name
  const model = step.model === undefined ? [] : [set('model', JSON.stringify(step.model))]
  const fixed = [
    ...(noStream ? [set('stream', 'false'), drop('stream_options')] : []),
    ...model,
    ...dropped.filter(isTop).map(name => drop(topOf(name))),
  ]
  const sources = Object.entries(fields)
    .filter(([name]) => isTop(name))
    .map(([name, value]): [string, Source] => [topOf(name), sourceOf(value, slots)])
  return input => [
    ...(oneToken ? prefillEdits(input.ctx.request.kind) : []),
    ...fixed,
    ...sources.map(([name, source]) => {
      const value = source(input)
      return value === undefined ? drop(name) : set(name, value)
    }),
  ]
}

/** The edits of fields below the top level, which come after those: of what a client may not say nothing is left then. */
export function nestedEdits(
  { request }: DescribedStep,
  slots: KeptSlots,
): (input: StepInput) => readonly NestedEdit[] {
  const isNested = (name: string): boolean => pathOf(name).length > 1
  const dropped = request.drop.filter(isNested).map(name => ({ path: pathOf(name), value: undefined }))
  const sources = Object.entries(request.set)
    .filter(([name]) => isNested(name))
    .map(([name, value]) => ({ path: pathOf(name), source: sourceOf(value, slots) }))
  return input => [...dropped, ...sources.map(({ path, source }) => ({ path, value: source(input) }))]
}

/** Puts a step's headers in place of the client's of the same names. */
export function headerEdits(
  step: DescribedStep,
  slots: KeptSlots,
): (input: StepInput, headers: readonly string[]) => string[] {
  const own = Object.entries(step.request.headers).map(([name, value]) => ({
    name,
    text: textOf(value, slots),
  }))
  const names = new Set(own.map(({ name }) => name))
  return (input, headers) => {
    const kept = withoutClientHeaders(headers)
    if (own.length === 0) return kept
    const out = withoutNamed(kept, names)
    for (const { name, text } of own) {
      const value = text(input)
      if (value !== undefined) out.push(name, value)
    }
    return out
  }
}

/** A header's text: of JSON texts what stands between the quotes, of all else the JSON. */
function textOf(value: HeaderValue, slots: KeptSlots): (input: StepInput) => string | undefined {
  if (typeof value === 'string') return () => value
  const source = sourceOf(value, slots)
  return input => {
    const json = source(input)
    return json === undefined ? undefined : headerText(json.toString())
  }
}

/**
 * Most characters of a kept value that goes into a header. Servers refuse a request whose headers together are longer than
 * some size, 16,384 bytes of Node and of uvicorn with h11, and the client's own are among them.
 */
export const MAX_HEADER_VALUE = 8192

/** Printable ASCII, whatever an engine has answered: white space between tokens is one blank, all else is escaped. */
export function headerText(json: string): string {
  const ascii = json
    .replace(/[\t\r\n]/g, ' ')
    .replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return /^"[^"\\]*"$/.test(ascii) ? ascii.slice(1, -1) : ascii
}

function sourceOf(value: FieldValue | undefined, slots: KeptSlots): Source {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return constant(value)
  if (value.from !== undefined) return keptValue(value.from, slots)
  if (value.generate === 'room') return ({ attemptId }) => roomsFor(attemptId, 1)[0]
  if (value.generate === 'uuid') return ({ attemptId }) => JSON.stringify(attemptId)
  const { pod, its } = value
  if (pod !== undefined && its !== undefined) return input => podFact(input.podOf(pod), its)
  return constant(value.value)
}

/** A null of the file arrives as nothing at all, which JSON does not know. */
const constant = (value: unknown): Source => {
  const json = JSON.stringify(value, (_, part: unknown) => (part === undefined ? null : part))
  return () => json
}

function keptValue(from: string, slots: KeptSlots): Source {
  const [step = '', name = ''] = from.split('.')
  const slot = slots.get(step)
  if (slot === undefined) throw new Error(`there is no step '${step}'`)
  return ({ ctx }) => ctx.get(slot).get(name)
}

function podFact(
  { id, origin, rank, kvTransfer = DEFAULT_TRANSFER }: PodInfo,
  fact: PodFact,
): string | undefined {
  switch (fact) {
    case 'host':
      return JSON.stringify(bootstrapHost(origin))
    case 'origin':
      return JSON.stringify(origin)
    case 'bootstrapPort':
      return String(kvTransfer.bootstrapPort)
    case 'address':
      return kvTransfer.address === undefined ? undefined : JSON.stringify(kvTransfer.address)
    case 'rank':
      return rank === undefined ? undefined : String(rank)
    case 'id':
      return JSON.stringify(id)
  }
}
