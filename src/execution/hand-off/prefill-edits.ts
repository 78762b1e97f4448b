/**
 * What makes a request one that only fills the cache: one token, in one JSON answer. Shared by the protocols in which
 * the prefill's answer is thrown away.
 *
 * All that could change the prompt's tokens stays, or the blocks would be those of another prompt: tools, tool_choice,
 * response_format, reasoning and template fields, documents, cache_salt, multimodal options. `response_format` and
 * `tool_choice` cost the prefill a grammar it hardly uses, and some templates write them into the prompt. `logprobs` of
 * one token cost next to nothing. Whatever asks for more than one answer never comes here; see refusals.ts.
 *
 * The fields are those of vLLM's own proxies (toy_proxy_server.py of its NIXL tests, mooncake_connector_proxy.py) and of
 * llm-d's routing sidecar, which leaves `min_tokens` in and so gets 400 for one above 1.
 */
import type { BodyKind } from '../../data/native.js'
import { drop, type FieldEdit, replace, set } from '../body-edit.js'

const oneAnswer: readonly FieldEdit[] = [
  set('stream', 'false'),
  // vLLM answers 400 to it where nothing streams.
  drop('stream_options'),
  // vLLM answers 400 where it is above max_tokens.
  drop('min_tokens'),
  drop('min_completion_tokens'),
]

const oneToken: readonly FieldEdit[] = [
  ...oneAnswer,
  set('max_tokens', '1'),
  // Counts in place of max_tokens where it is given.
  replace('max_completion_tokens', '1'),
]

const oneResponse: readonly FieldEdit[] = [
  ...oneAnswer,
  set('max_output_tokens', '1'),
  // The prefill's answer is nobody's: it must not be kept there, nor be made behind the request's back.
  set('store', 'false'),
  drop('background'),
]

/** The edits for a body of that kind. */
export const prefillEdits = (kind: BodyKind): readonly FieldEdit[] =>
  kind === 'responses' ? oneResponse : oneToken
