/**
 * SGLang: the same body goes to both pods at once, with the place where they meet. Decode's answer is the client's.
 *
 * Source: SGLang 0.5.23 (entrypoints/openai/protocol.py, managers/io_struct.py, disaggregation/) and its gateway.
 */
import type { BodyKind } from '../../data/native.js'
import {
  arrayLength,
  type Body,
  editBody,
  elementsOf,
  type FieldEdit,
  fieldsOf,
  isArray,
  set,
} from '../body-edit.js'
import { cleanedWith } from './client-fields.js'

/**
 * Most prompts of one request that are handed off. Each adds a host, a port and a room to the body, some fifty bytes
 * for as few as two in the client's, so that there has to be an end; the batches of evaluation tools are hundreds.
 */
export const MAX_BATCH = 1024

/** Where both legs of one request meet. */
export interface SglangMeeting {
  /** The prefill pod's host, without scheme and port; see `bootstrapHost`. */
  readonly host: string
  /** Of the prefill pod's bootstrap server; null: the one that the pods were started with. */
  readonly port: number | null
  /** One for each prompt; see `drawRooms`. */
  readonly rooms: readonly string[]
  /** The request has several prompts, so that all three are lists, even of one. */
  readonly batched: boolean
  /** Data-parallel ranks, where the router chose them. */
  readonly prefillRank?: number | undefined
  readonly decodeRank?: number | undefined
}

/** A pod's host as SGLang takes it, from its origin. IPv6 keeps its brackets: the prefill pod puts `:port` behind. */
export const bootstrapHost = (origin: string): string => new URL(origin).hostname

/** How many prompts a request has. */
export interface BatchShape {
  /** 0 where SGLang would refuse the request. */
  readonly size: number
  readonly batched: boolean
}

const one: BatchShape = { size: 1, batched: false }

/**
 * The shape of a request: chat and completions by `n` and the `prompt`; the engine's own `/generate` (kind `other`) by
 * `text`, `input_ids` and `sampling_params.n`. Answers are wanted for `n` × prompts, as SGLang's gateway counts them.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export function batchShape(body: Body, kind: BodyKind): BatchShape {
  const [n, prompt, text, ids, embeds, sampling] = fieldsOf(body, SHAPE_FIELDS)
  const prompts =
    kind === 'completions' ? promptShape(prompt) : kind === 'other' ? generateShape(text, ids, embeds) : one
  const inner = sampling !== undefined && sampling[0] === 0x7b ? fieldsOf(sampling, ['n'])[0] : undefined
  const times = count(kind === 'other' ? inner : n)
  return { size: prompts.size * times, batched: prompts.batched || times !== 1 }
}

const SHAPE_FIELDS = ['n', 'prompt', 'text', 'input_ids', 'input_embeds', 'sampling_params']

/** `text` counts before `input_ids`, and those before `input_embeds`. */
function generateShape(...values: (Buffer | undefined)[]): BatchShape {
  const first = values.findIndex(value => value !== undefined && value.toString('latin1', 0, 5) !== 'null')
  const value = values[first]
  // A list of texts, of lists of ids, of lists of vectors.
  return first === 2 && value !== undefined ? embedsShape(value) : promptShape(value)
}

/** A text or a list of token ids is one prompt; a list of those is a batch. */
function promptShape(value: Buffer | undefined): BatchShape {
  if (value === undefined || !isArray(value)) return one
  const [first] = elementsOf(value)
  if (first !== undefined && first[0] !== 0x22 && first[0] !== 0x5b) return one
  return { size: arrayLength(value) ?? 0, batched: true }
}

function embedsShape(value: Buffer): BatchShape {
  if (!isArray(value)) return one
  const [first] = elementsOf(value)
  const [inner] = first !== undefined && isArray(first) ? elementsOf(first) : []
  return inner !== undefined && isArray(inner) ? { size: arrayLength(value) ?? 0, batched: true } : one
}

/** `n` as a number; 0 for what is none. */
function count(n: Buffer | undefined): number {
  const text = n?.toString('latin1') ?? 'null'
  return text === 'null' ? 1 : /^[1-9]\d{0,8}$/.test(text) ? Number(text) : 0
}

/** @throws PhylloError internal_error if the body is no JSON object */
export function sglangPrefillBody(body: Body, meeting: SglangMeeting): Buffer {
  return editBody(body, cleanedWith(...meet(meeting), ...rank('routed_dp_rank', meeting.prefillRank)))
}

/** @throws PhylloError internal_error if the body is no JSON object */
export function sglangDecodeBody(body: Body, meeting: SglangMeeting): Buffer {
  const { prefillRank, decodeRank } = meeting
  const ranks = [...rank('disagg_prefill_dp_rank', prefillRank), ...rank('routed_dp_rank', decodeRank)]
  return editBody(body, cleanedWith(...meet(meeting), ...ranks))
}

/** Digits of rooms are written as they are: a double would round them. */
function meet({ host, port, rooms, batched }: SglangMeeting): FieldEdit[] {
  const list = (values: readonly string[]): string =>
    batched ? `[${values.join(',')}]` : (values[0] ?? 'null')
  return [
    set('bootstrap_host', list(rooms.map(() => JSON.stringify(host)))),
    set('bootstrap_port', list(rooms.map(() => String(port)))),
    set('bootstrap_room', list(rooms)),
  ]
}

const rank = (name: string, value: number | undefined): FieldEdit[] =>
  value === undefined ? [] : [set(name, String(value))]
