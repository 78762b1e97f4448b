/**
 * vLLM's encoder disaggregation: an encode pod (`ec_role: ec_producer`) gets the chat with one token to answer, runs the
 * vision or audio encoder alone, and says in `ec_transfer_params` where the embeddings of each item are, by its hash. The
 * pod that prefills gets that with the request and fetches them instead of encoding.
 *
 * Source: vLLM's examples/disaggregated/disaggregated_encoder (disagg_epd_proxy.py), the ECCPUConnector of 0.32 and
 * llm-d's coordinator. With connectors that share a storage (ECExampleConnector) the field is null: the pods find the
 * embeddings by hash. That proxy sends each item to an encode pod of its own where it has several; here all items of a
 * request go to one.
 */
import type { BodyKind } from '../../data/native.js'
import {
  type Body,
  editBody,
  elementsOf,
  type FieldEdit,
  fieldOf,
  isArray,
  isObject,
  set,
} from '../body-edit.js'
import { cleanedWith } from './client-fields.js'
import { type HandOffFault, handOffFault, parsedJson } from './fault.js'
import { prefillEdits } from './prefill-edits.js'

const FIELD = 'ec_transfer_params'

/** Where a request's embeddings are; undefined where the pods find them without being told. */
export interface EncodeHandOff {
  readonly params: Buffer | undefined
}

/** Types of a message's parts that an encoder is for. */
const MEDIA = ['image_url', 'video_url', 'audio_url', 'input_audio', 'image_pil'] as const
const mediaTypes = new Set(MEDIA.map(type => JSON.stringify(type)))

/**
 * Whether a chat has images, sounds or videos. A type that is written with escapes is not seen; the prefill pod encodes
 * such a part itself.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export function hasMedia(body: Uint8Array, kind: BodyKind): boolean {
  if (kind !== 'chat') return false
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  // Most chats have none, and need not be walked.
  if (!MEDIA.some(type => bytes.includes(type))) return false
  const messages = fieldOf(body, 'messages')
  if (messages === undefined || !isArray(messages)) return false
  for (const message of elementsOf(messages)) {
    const content = isObject(message) ? fieldOf(message, 'content') : undefined
    if (content === undefined || !isArray(content)) continue
    for (const part of elementsOf(content)) {
      if (isObject(part) && mediaTypes.has(fieldOf(part, 'type')?.toString('latin1') ?? '')) return true
    }
  }
  return false
}

/** @throws PhylloError internal_error if the body is no JSON object */
export const encodeBody = (body: Body, kind: BodyKind): Buffer =>
  editBody(body, cleanedWith(...prefillEdits(kind)))

/** What a prefill's request says of the embeddings. */
export const encodedEdits = ({ params }: EncodeHandOff): readonly FieldEdit[] =>
  params === undefined ? [] : [set(FIELD, params)]

/** Reads the answer of an encode pod. Never throws. */
export function readEncodeHandOff(answer: Uint8Array): EncodeHandOff | HandOffFault {
  let params: Buffer | undefined
  try {
    params = fieldOf(answer, FIELD)
  } catch {
    return handOffFault('not-json', "the encoder's answer is no JSON object")
  }
  if (params === undefined) return { params: undefined }
  // It goes into a request of the router's own, which must not be broken by it.
  const value = parsedJson(params)
  if (value === null) return { params: undefined }
  if (typeof value !== 'object' || Array.isArray(value))
    return handOffFault('wrong-type', `${FIELD} in the encoder's answer is no object`)
  return { params: Buffer.from(params) }
}
