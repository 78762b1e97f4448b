/**
 * vLLM with the MooncakeConnector: both legs name one transfer, and decode fetches from the engine that the prefill
 * pod's bootstrap server told of. Decode needs nothing of the prefill's answer, so both may go at once.
 *
 * Source: vLLM 0.32.0, kv_connector/v1/mooncake, and its mooncake_connector_proxy.py.
 */
import type { BodyKind } from '../../data/native.js'
import { type Body, drop, editBody, set } from '../body-edit.js'
import { cleanedWith } from './client-fields.js'
import { fieldIn, type HandOffFault, handOffFault, parsedJson } from './fault.js'
import { prefillEdits } from './prefill-edits.js'

const FIELD = 'kv_transfer_params'

/** Below the bootstrap server's address; asked once for each prefill engine, and again after it restarted. */
export const MOONCAKE_QUERY_PATH = '/query'

/** Engine ids by data-parallel rank. */
export type MooncakeEngines = ReadonlyMap<number, string>

/** Most ranks believed of a bootstrap server. The widest deployments known have a few hundred. */
const MAX_RANKS = 4096

/** Reads a bootstrap server's answer, `{"<rank>": {"engine_id": …}}`. Never throws. */
export function readMooncakeEngines(answer: Uint8Array): MooncakeEngines | HandOffFault {
  const value = parsedJson(answer)
  if (value === undefined) return handOffFault('not-json', "the bootstrap server's answer is no JSON")
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return handOffFault('wrong-type', "the bootstrap server's answer is no object")
  }
  const entries = Object.entries(value)
  // The server answers before its engine has registered.
  if (entries.length === 0) return handOffFault('missing', 'the bootstrap server knows no engine yet')
  if (entries.length > MAX_RANKS)
    return handOffFault('wrong-type', 'the bootstrap server names too many ranks')
  const engines = new Map<number, string>()
  for (const [rank, entry] of entries) {
    const id = fieldIn(entry, 'engine_id')
    if (!/^\d{1,5}$/.test(rank) || typeof id !== 'string' || id === '') {
      return handOffFault(
        'wrong-type',
        'the bootstrap server names a rank that is no number or has no engine_id',
      )
    }
    engines.set(Number(rank), id)
  }
  return engines
}

/** One transfer from one engine. */
export interface MooncakeTransfer {
  /** Any text that is new for each attempt; vLLM's proxy and this router say `xfer-<uuid>`. */
  readonly id: string
  /** Of the prefill pod's bootstrap server: `http://host:port`, IPv6 in brackets. */
  readonly bootstrap: string
  /** Of the prefill pod, or of its rank that serves the request. */
  readonly engineId: string
}

/** The transfer's id from a UUID. */
export const mooncakeTransferId = (uuid: string): string => `xfer-${uuid}`

/** @throws PhylloError internal_error if the body is no JSON object */
export function mooncakePrefillBody(body: Body, kind: BodyKind, { id }: MooncakeTransfer): Buffer {
  const params = JSON.stringify({ do_remote_decode: true, do_remote_prefill: false, transfer_id: id })
  // Blocks are handed on only by a request that ended at its length (`request_finished`). One whose first token is the
  // end of the text would let decode wait in vain; nobody reads that token.
  const toLength = [set('ignore_eos', 'true'), drop('stop_token_ids')]
  return editBody(body, cleanedWith(...prefillEdits(kind), ...toLength, set(FIELD, params)))
}

/** @throws PhylloError internal_error if the body is no JSON object */
export function mooncakeDecodeBody(body: Body, transfer: MooncakeTransfer): Buffer {
  const params = JSON.stringify({
    do_remote_decode: false,
    do_remote_prefill: true,
    transfer_id: transfer.id,
    remote_bootstrap_addr: transfer.bootstrap,
    remote_engine_id: transfer.engineId,
  })
  return editBody(body, cleanedWith(set(FIELD, params)))
}
