/**
 * Which requests can't be split in two under a protocol, and why. Such a request goes whole to one pod; the text goes into
 * the decision record, or to the client where no pod serves whole requests.
 *
 * What the engines do (source: vLLM 0.22.1 and 0.32.0, SGLang 0.5.23):
 *
 * - NIXL, Mooncake: blocks are fetched once, then the prefill pod lets go of them. One prompt and one answer.
 * - P2pNccl: each sequence has an id of its own, made of the request's (`cmpl-ID-PROMPT`, `ANSWER_ID`), the same on both
 *   pods, and its blocks are pushed and found by it. Any number of prompts and answers.
 * - SGLang: each prompt has a room. All answers of one prompt get the same one, and so does a warm-up before them
 *   (tokenizer_manager.py, `_handle_batch_request`), so that they never meet. Any number of prompts, one answer each.
 * - generic: a hint may be read as often as one likes.
 *
 * None of them gives the log probabilities of the prompt, whose last token alone is decode's. vLLM 0.22 answers what was in
 * the memory for them, 0.32 fetches nothing and computes the prompt again, SGLang leaves them out.
 */
import type { BodyKind } from '../../data/native.js'
import { type Body, elementsOf, fieldOf, fieldsOf, isArray, isObject } from '../body-edit.js'
import { batchShape, MAX_BATCH } from './sglang.js'

export type HandOffProtocol = 'vllm-nixl' | 'vllm-p2p-nccl' | 'vllm-mooncake' | 'sglang' | 'generic'

const FIELDS = [
  'n',
  'best_of',
  'use_beam_search',
  'prompt_logprobs',
  'echo',
  'prompt',
  'prompt_embeds',
  'previous_response_id',
  'background',
  'tools',
  'beam_width',
  'session_params',
  'sampling_params',
  'logprobs',
  'return_logprob',
  'logprob_start_len',
  'token_ids_logprob',
] as const

type Fields = Readonly<Record<(typeof FIELDS)[number], Buffer | undefined>>

/**
 * Why the request can't be handed off under that protocol; undefined if it can. `body` is a request whose JSON was
 * checked. For kind `other` the caller has seen that the path is SGLang's `/generate`.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export function handOffRefusal(protocol: HandOffProtocol, body: Body, kind: BodyKind): string | undefined {
  if (kind === 'embeddings') return 'embeddings have no decode step'
  if (kind === 'other' && protocol !== 'sglang') return 'the path is none that generates text'
  // It makes a chat of them without the fields of hand-offs, which it reads in headers only where it is told to
  // (entrypoints/anthropic, SGLANG_ENABLE_REQUEST_HEADER_OVERRIDES).
  if (kind === 'messages' && protocol === 'sglang') return 'SGLang takes no hand-off with /v1/messages'
  const fields = read(body)
  const common = stateful(fields, kind) ?? wholePrompt(fields, kind)
  if (common !== undefined || protocol === 'generic') return common
  const several = beams(fields) ?? embeddings(fields)
  if (several !== undefined || protocol === 'vllm-p2p-nccl') return several
  return severalAnswers(protocol, fields) ?? batch(protocol, fields, body, kind)
}

function read(body: Body): Fields {
  const values = fieldsOf(body, FIELDS)
  const of = (name: (typeof FIELDS)[number]): Buffer | undefined => {
    const value = values[FIELDS.indexOf(name)]
    return value === undefined || is(value, 'null') ? undefined : value
  }
  return {
    n: of('n'),
    best_of: of('best_of'),
    use_beam_search: of('use_beam_search'),
    prompt_logprobs: of('prompt_logprobs'),
    echo: of('echo'),
    prompt: of('prompt'),
    prompt_embeds: of('prompt_embeds'),
    previous_response_id: of('previous_response_id'),
    background: of('background'),
    tools: of('tools'),
    beam_width: of('beam_width'),
    session_params: of('session_params'),
    sampling_params: of('sampling_params'),
    logprobs: of('logprobs'),
    return_logprob: of('return_logprob'),
    logprob_start_len: of('logprob_start_len'),
    token_ids_logprob: of('token_ids_logprob'),
  }
}

const is = (value: Buffer | undefined, json: string): boolean =>
  value !== undefined && value.length === json.length && value.toString('latin1') === json

/** What one pod remembers, the other knows nothing of. */
function stateful(fields: Fields, kind: BodyKind): string | undefined {
  if (fields.session_params !== undefined) return 'session_params: the session is held by one pod'
  if (kind !== 'responses') return undefined
  if (fields.previous_response_id !== undefined)
    return 'previous_response_id: the response is held by one pod'
  if (fields.background !== undefined && !is(fields.background, 'false')) {
    return 'background: the answer comes before the prompt is computed'
  }
  const foreign = fields.tools !== undefined && !onlyFunctions(fields.tools)
  return foreign
    ? 'tools that the engine runs itself take several generations, and a hand-off serves one'
    : undefined
}

/** Most tools looked at; agents bring dozens. */
const MAX_TOOLS = 512

function onlyFunctions(tools: Buffer): boolean {
  if (!isArray(tools)) return false
  let count = 0
  for (const tool of elementsOf(tools)) {
    if (++count > MAX_TOOLS || tool[0] !== 0x7b || !is(fieldOf(tool, 'type'), '"function"')) return false
  }
  return true
}

/** A search makes generations of its own, under names that the other pod does not know. */
function beams({ use_beam_search: search, beam_width: width }: Fields): string | undefined {
  if (search !== undefined && !is(search, 'false'))
    return 'use_beam_search: a search is many generations, and a hand-off is for one'
  return width === undefined || is(width, '1')
    ? undefined
    : 'beam_width is not 1: a search is many generations, and a hand-off is for one'
}

/** P2pNccl counts a prompt's tokens, which these have none of. */
const embeddings = ({ prompt_embeds: embeds }: Fields): string | undefined =>
  embeds === undefined ? undefined : 'prompt_embeds may be several prompts, and a hand-off is for one'

/**
 * Numbers are judged as written: engines also take `1.0` or `"1"` for 1, and those go to one pod, which is always right.
 * SGLang passes `best_of` over.
 */
function severalAnswers(protocol: HandOffProtocol, fields: Fields): string | undefined {
  for (const name of protocol === 'sglang' ? (['n'] as const) : (['n', 'best_of'] as const)) {
    const value = fields[name]
    if (value !== undefined && !is(value, '1')) return `${name} is not 1, and a hand-off has one consumer`
  }
  const sampling = fields.sampling_params
  if (sampling !== undefined && !isOneSample(sampling))
    return 'sampling_params.n is not 1, and a hand-off has one consumer'
  return undefined
}

/** SGLang's `/generate` has `n` in an object, or in a list of one for each prompt. */
function isOneSample(sampling: Buffer): boolean {
  if (isArray(sampling)) {
    for (const each of elementsOf(sampling)) if (!isOneOf(each)) return false
    return true
  }
  return isOneOf(sampling)
}

function isOneOf(sampling: Buffer): boolean {
  if (!isObject(sampling)) return false
  return fieldsOf(sampling, ['n', 'beam_width']).every(
    value => value === undefined || is(value, 'null') || is(value, '1'),
  )
}

/**
 * Where the answer tells of the prompt's tokens, decode would have to compute all of them again. Engines ask themselves
 * for the prompt's log probabilities where an echo comes with those of the answer, and vLLM's chat with any echo; an echo
 * in words alone is the HTTP front's.
 */
function wholePrompt(fields: Fields, kind: BodyKind): string | undefined {
  if (fields.prompt_logprobs !== undefined) return 'prompt_logprobs need the whole prompt computed on one pod'
  if (kind === 'other' && tellsPrompt(fields))
    return 'these log probabilities need the whole prompt computed on one pod'
  const echoes = fields.echo !== undefined && !is(fields.echo, 'false')
  return echoes && (kind !== 'completions' || fields.logprobs !== undefined)
    ? 'echo with logprobs needs the whole prompt computed on one pod'
    : undefined
}

/**
 * SGLang's `/generate`. Without a start it tells of the answer's tokens alone, of which the first one's comes over with
 * the blocks; what is asked for by token (`token_ids_logprob`) does not.
 */
function tellsPrompt({ return_logprob: wanted, logprob_start_len: start, token_ids_logprob: ids }: Fields) {
  if (wanted === undefined || is(wanted, 'false')) return false
  return ids !== undefined || (start !== undefined && !is(start, '-1'))
}

function batch(
  protocol: HandOffProtocol,
  { prompt }: Fields,
  body: Body,
  kind: BodyKind,
): string | undefined {
  if (protocol === 'sglang') {
    const { size } = batchShape(body, kind)
    return size >= 1 && size <= MAX_BATCH
      ? undefined
      : `a batch of ${size} prompts; 1 to ${MAX_BATCH} can be handed off`
  }
  if (kind !== 'completions' || prompt === undefined || !isArray(prompt)) return undefined
  const [first] = elementsOf(prompt)
  // Token ids are one prompt. A list of one prompt is a batch of one, which engines number like any other.
  const isIds = first !== undefined && first[0] !== 0x22 && first[0] !== 0x5b
  return isIds ? undefined : 'a batch of prompts has one hand-off for all of them'
}
