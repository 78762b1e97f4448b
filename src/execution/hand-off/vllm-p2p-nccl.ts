/**
 * vLLM with the P2pNcclConnector (up to 0.22; gone in 0.32): both pods get the same request id, and read each other's
 * address out of it. The body carries nothing.
 *
 * - Every request of such a pod needs an id of this form, or its worker raises while it looks for the address: there is
 *   no serving alone on a decode pod, however short the prompt (p2p_nccl_connector.py, `parse_request_id`).
 * - Blocks are found by the id, to which vLLM 0.22 adds eight characters of its own on each pod: they meet only with
 *   `VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=1` on both.
 * - The client keeps its own id: pods' `x-request-id` is never relayed (headers.ts). It stands in the answer's `id`
 *   though, as every vLLM puts it there.
 */
import type { BodyKind } from '../../data/native.js'
import { type Body, editBody } from '../body-edit.js'
import { withoutNamed } from '../headers.js'
import { cleanedWith, withoutClientHeaders } from './client-fields.js'
import { prefillEdits } from './prefill-edits.js'

const REQUEST_ID = 'x-request-id'
const own: ReadonlySet<string> = new Set([REQUEST_ID])

/** Addresses of both pods' ZMQ sockets: `host:port`, IPv6 in brackets. `uuid`: 32 hex digits, new for each attempt. */
export interface P2pPair {
  readonly prefill: string
  readonly decode: string
  readonly uuid: string
}

/** The id that both legs carry. */
export const p2pRequestId = ({ prefill, decode, uuid }: P2pPair): string =>
  `___prefill_addr_${prefill}___decode_addr_${decode}_${uuid}`

/**
 * The headers of either leg (name in lower case, value, …): the client's, with the pair's id in place of its own. Comes
 * before `withRank`.
 */
export function p2pHeaders(headers: readonly string[], pair: P2pPair): string[] {
  const out = withoutNamed(withoutClientHeaders(headers), own)
  out.push(REQUEST_ID, p2pRequestId(pair))
  return out
}

/** @throws PhylloError internal_error if the body is no JSON object */
export const p2pPrefillBody = (body: Body, kind: BodyKind): Buffer =>
  editBody(body, cleanedWith(...prefillEdits(kind)))

/** The client's own body. @throws PhylloError internal_error if the body is no JSON object */
export const p2pDecodeBody = (body: Body): Buffer => editBody(body, cleanedWith())
