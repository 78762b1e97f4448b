/**
 * What a client may not say itself: where KV blocks are to be fetched from, or on which data-parallel rank a request
 * runs. Engines believe these fields, so that a client could read another's KV cache (by the block ids of its prompt),
 * have an engine connect to any address, or upset the router's balance. They are taken out of every request to a pod
 * that hands off, on both legs and when a request goes to one pod alone; each protocol then puts in its own.
 *
 * Sources: vLLM 0.22.1 and 0.32.0 (entrypoints/openai/…/protocol.py), SGLang 0.5.23 (PDRoutingFields in
 * entrypoints/openai/protocol.py, GenerateReqInput, entrypoints/request_headers.py).
 */
import {
  type Body,
  bytesIn,
  change,
  drop,
  editBody,
  type FieldEdit,
  fieldsOf,
  isObject,
} from '../body-edit.js'
import { withoutNamed } from '../headers.js'
import { RANK_HEADER } from '../rank-header.js'

const VLLM_PARAMS = ['kv_transfer_params', 'ec_transfer_params']

/** Where the generic protocol puts its cache hint: in the body and in the headers. */
export const HINT_FIELD = 'phyllo_cache_hint'
export const HINT_HEADER = 'x-phyllo-cache-hint'

/** Taken out of the body's top level. */
export const CLIENT_FIELDS: readonly string[] = [
  ...VLLM_PARAMS,
  'bootstrap_host',
  'bootstrap_port',
  'bootstrap_room',
  'bootstrap_pair_key',
  'routed_dp_rank',
  'disagg_prefill_dp_rank',
  // The older name of routed_dp_rank, which counts where that one is not given.
  'data_parallel_rank',
  HINT_FIELD,
]

/** Taken out of the headers; SGLang lets them override the body. */
export const CLIENT_HEADERS: ReadonlySet<string> = new Set([
  RANK_HEADER,
  HINT_HEADER,
  'x-override-rid',
  'x-override-bootstrap-host',
  'x-override-bootstrap-port',
  'x-override-bootstrap-room',
  'x-override-routed-dp-rank',
  'x-override-disagg-prefill-dp-rank',
])

/** vLLM hands its `vllm_xargs` on together with the transfer parameters, and under the same names. */
const cleanXargs = change('vllm_xargs', value =>
  isObject(value) ? editBody(value, VLLM_PARAMS.map(drop)) : value,
)

const cleaning: readonly FieldEdit[] = [...CLIENT_FIELDS.map(drop), cleanXargs]

/** All that takes out what the client may not say, then the edits of a protocol, which may set the same fields. */
export const cleanedWith = (...edits: readonly FieldEdit[]): readonly FieldEdit[] => [...cleaning, ...edits]

const cleaned = cleaning.map(edit => edit.name)

/**
 * The body of a request that one pod serves alone though it could hand off: the client's own memory where there is
 * nothing to take out, as there nearly never is.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export const aloneBody = (body: Body): Buffer =>
  fieldsOf(body, cleaned).every(value => value === undefined) ? bytesIn(body) : editBody(body, cleaning)

/**
 * Headers (name in lower case, value, …) without those that a client may not send to a pod that hands off. Comes before
 * `withRank`, whose header it would take out again.
 */
export const withoutClientHeaders = (headers: readonly string[]): string[] =>
  withoutNamed(headers, CLIENT_HEADERS)
