/**
 * vLLM with the NixlConnector: prefill first, then decode with what the prefill's answer says of its blocks.
 *
 * Recorded of vLLM 0.32.0. The parameters go from one pod's answer into the other's request byte for byte: each
 * release puts more into them, and the router need not know what.
 */
import type { BodyKind } from '../../data/native.js'
import { type Body, editBody, fieldOf, set } from '../body-edit.js'
import { asBuffer } from '../json-walk.js'
import { cleanedWith } from './client-fields.js'
import { fieldIn, type HandOffFault, handOffFault, parsedJson } from './fault.js'
import { prefillEdits } from './prefill-edits.js'

const FIELD = 'kv_transfer_params'

const PREFILL_PARAMS =
  '{"do_remote_decode":true,"do_remote_prefill":false,' +
  '"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}'

/** What the prefill's answer hands to the decode pod. */
export interface NixlHandOff {
  /** The value of `kv_transfer_params` as it came, in memory of its own. */
  readonly params: Buffer
}

/** @throws PhylloError internal_error if the body is no JSON object */
export const nixlPrefillBody = (body: Body, kind: BodyKind): Buffer =>
  editBody(body, cleanedWith(...prefillEdits(kind), set(FIELD, PREFILL_PARAMS)))

/** The client's body with the hand-off. @throws PhylloError internal_error if the body is no JSON object */
export const nixlDecodeBody = (body: Body, { params }: NixlHandOff): Buffer =>
  editBody(body, cleanedWith(set(FIELD, params)))

/**
 * Reads the hand-off out of the prefill's whole JSON answer. Parameters are checked as far as a decode pod needs them
 * to fetch anything, so that a pod without the connector shows as such and not as a slow decode. Never throws.
 */
export function readNixlHandOff(answer: Uint8Array): NixlHandOff | HandOffFault {
  let params: Buffer | undefined
  try {
    params = fieldOf(asBuffer(answer), FIELD)
  } catch {
    return handOffFault('not-json', "the prefill's answer is no JSON object")
  }
  if (params === undefined) return handOffFault('missing', `the prefill's answer has no ${FIELD}`)
  // They go into a request of the router's own, which must not be broken by them.
  const value = parsedJson(params)
  if (value === undefined) return handOffFault('not-json', `${FIELD} in the prefill's answer is no JSON`)
  if (value === null) {
    return handOffFault('missing', `${FIELD} in the prefill's answer is null: has the pod a KV connector?`)
  }
  const wrong = wrongParam(value)
  if (wrong !== undefined) return handOffFault('wrong-type', `${FIELD}${wrong} in the prefill's answer`)
  return { params: Buffer.from(params) }
}

/** What is not as vLLM 0.22 to 0.32 say it, behind the field's name. */
function wrongParam(value: unknown): string | undefined {
  if (typeof value !== 'object' || Array.isArray(value)) return ' is no object'
  if (fieldIn(value, 'do_remote_prefill') !== true) return '.do_remote_prefill is not true'
  for (const name of ['remote_engine_id', 'remote_host']) {
    const text = fieldIn(value, name)
    if (typeof text !== 'string' || text === '') return `.${name} is no text`
  }
  const port = fieldIn(value, 'remote_port')
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) {
    return '.remote_port is no port'
  }
  return Array.isArray(fieldIn(value, 'remote_block_ids')) ? undefined : '.remote_block_ids is no list'
}
