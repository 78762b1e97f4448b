/** What an engine tells about itself, and tokenization. */
import type { Call } from '../call.js'
import { sglangLines, vllmHandOffLines } from '../hand-off/metrics.js'
import { renderMetrics } from '../metrics.js'
import { VLLM_VERSION } from '../runtime.js'
import { detokenizeRequest, tokenizeRequest } from '../schemas.js'

export function models(call: Call): void {
  const { runtime } = call
  const root = runtime.options.modelDir ?? runtime.options.model
  const permission = {
    id: `modelperm-${runtime.newId()}`,
    object: 'model_permission',
    created: runtime.startedAt,
    allow_create_engine: false,
    allow_sampling: true,
    allow_logprobs: true,
    allow_search_indices: false,
    allow_view: true,
    allow_fine_tuning: false,
    organization: '*',
    group: null,
    is_blocking: false,
  }
  const data = [...runtime.models].map(id => ({
    id,
    object: 'model',
    created: runtime.startedAt,
    owned_by: 'vllm',
    root,
    parent: id === runtime.options.model ? null : runtime.options.model,
    max_model_len: runtime.maxModelLen,
    permission: [permission],
  }))
  call.json(200, { object: 'list', data })
}

export function health(call: Call): void {
  call.text(200, '')
}

export function version(call: Call): void {
  call.json(200, { version: VLLM_VERSION })
}

export function load(call: Call): void {
  const { waiting, running } = call.runtime.stats()
  call.json(200, { server_load: waiting + running })
}

export function metrics(call: Call): void {
  const { options, ranks, handOff, adapters } = call.runtime
  const reports = ranks.map(rank => ({
    rank: rank.index,
    stats: rank.stats(),
    parked: rank.parked,
    metrics: rank.metrics,
  }))
  const { kvConnector } = options
  const page = renderMetrics(options, reports, adapters)
  const more =
    kvConnector === undefined
      ? []
      : kvConnector === 'sglang'
        ? sglangLines(options, reports, handOff.counts)
        : vllmHandOffLines(options, reports, handOff.counts)
  const text = page + more.map(line => `${line}\n`).join('')
  call.text(200, text, 'text/plain; version=1.0.0; charset=utf-8')
}

export function tokenize(call: Call): void {
  const request = call.parse(tokenizeRequest)
  const { runtime } = call
  if (typeof request.model === 'string') runtime.requireModel(request.model)
  const tokens =
    'prompt' in request && typeof request.prompt === 'string'
      ? runtime.tokenizer.encode(request.prompt, request['add_special_tokens'] !== false)
      : runtime.encodeChat(call.bytes)
  const max_model_len = runtime.maxModelLen
  call.json(200, { count: tokens.length, max_model_len, tokens: Array.from(tokens), token_strs: null })
}

export function detokenize(call: Call): void {
  const { tokens } = call.parse(detokenizeRequest)
  call.json(200, { prompt: call.runtime.tokenizer.decode(Uint32Array.from(tokens)) })
}
