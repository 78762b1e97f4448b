import test from 'ava'
import { isControlPath } from '#phyllo/server/control-paths.js'

test('paths that control an engine are closed, however they are written', t => {
  const closed = [
    ...[
      '/sleep',
      '/sleep/',
      '/sleep/level',
      '/wake_up',
      '/reset_prefix_cache',
      '/collective_rpc',
      '/flush_cache',
    ],
    ...[
      '/v1/load_lora_adapter',
      '/v1/unload_lora_adapter',
      '/update_weights_from_disk',
      '/start_profile',
      '/slots/0',
    ],
    ...[
      '//sleep',
      '/./sleep',
      '/x/../sleep',
      '/%73leep',
      '/v1/%2e%2e/sleep',
      '/SLEEP',
      '/v1//sleep',
      '\\sleep',
    ],
    ...['/metrics', '/lora-adapters', '/models/unload'],
  ]
  for (const path of closed) t.true(isControlPath(path), path)
})

test('paths that infer are open', t => {
  const open = [
    ...[
      '/v1/chat/completions',
      '/v1/models',
      '/v1/responses/resp_1',
      '/rerank',
      '/v1/rerank',
      '/score',
      '/pooling',
    ],
    ...[
      '/tokenize',
      '/detokenize',
      '/generate',
      '/v1/audio/transcriptions',
      '/sleepy',
      '/v1/loads',
      '/invocations',
    ],
    ...['/', '', '/%zz', '/embed/sleep'],
  ]
  for (const path of open) t.false(isControlPath(path), path)
})
