/** vLLM on the CPU as a child process, in the ways that the phases need it. */
import { join } from 'node:path'
import { type Engine, launch, VLLM_MODEL } from './engine.js'
import { type EventOptions, kvEventsConfig } from './kv-events.js'
import { type KvTransferOptions, kvTransferConfig, kvTransferEnvironment } from './kv-transfer.js'
import { paths } from './paths.js'

export interface VllmOptions {
  /** The router's id for it, too. */
  readonly name: string
  readonly port: number
  /** The Python of the environment that a version is installed in. */
  readonly python: string
  readonly modelDir: string
  /** Tokens in a KV block: the CPU build of 0.32 takes 32 and no other. */
  readonly blockSize: number
  /** Blocks of the whole cache. */
  readonly blocks: number
  /** Tokens of prompt and answer together. */
  readonly contextLength: number
  readonly events?: EventOptions | undefined
  /** Ranks, each with a cache of its own. */
  readonly dataParallel?: number | undefined
  /** Its part in disaggregated serving. */
  readonly kvTransfer?: KvTransferOptions | undefined
}

export function startVllm(options: VllmOptions): Engine {
  const { name, port, python, modelDir, blockSize, blocks, contextLength, events, dataParallel, kvTransfer } =
    options
  const args = [
    ...[join(paths.python, 'serve_vllm.py'), 'serve', modelDir, '--served-model-name', VLLM_MODEL],
    ...['--host', '127.0.0.1', '--port', `${port}`],
    ...['--dtype', 'bfloat16', '--max-model-len', `${contextLength}`, '--max-num-seqs', '16'],
    ...['--block-size', `${blockSize}`, '--enable-prefix-caching', '--enable-prompt-tokens-details'],
    ...['--num-gpu-blocks-override', `${blocks}`, '--enforce-eager'],
    // Without a parser, requests with tools are refused.
    ...['--enable-auto-tool-choice', '--tool-call-parser', 'hermes'],
    ...(events === undefined
      ? []
      : ['--kv-events-config', kvEventsConfig(events, { enable_kv_cache_events: true })]),
    // One HTTP server for all ranks, as a fleet of large engines has it on a host; by default each has one of its own.
    ...(dataParallel === undefined
      ? []
      : ['--data-parallel-size', `${dataParallel}`, '--api-server-count', '1']),
    ...(kvTransfer === undefined ? [] : ['--kv-transfer-config', kvTransferConfig(kvTransfer)]),
  ]
  const env = { ...environment, ...(kvTransfer === undefined ? {} : kvTransferEnvironment(kvTransfer)) }
  return launch({ name, model: VLLM_MODEL, port, command: python, args, env })
}

const environment = {
  HF_HUB_OFFLINE: '1',
  VLLM_NO_USAGE_STATS: '1',
  DO_NOT_TRACK: '1',
  VLLM_CACHE_ROOT: join(paths.cache, 'vllm-cache'),
  VLLM_CPU_KVCACHE_SPACE: '1',
  VLLM_CPU_OMP_THREADS_BIND: 'nobind',
  OMP_NUM_THREADS: '1',
  // The engine's worker runs in its core's process, not in one of its own.
  VLLM_ENABLE_V1_MULTIPROCESSING: '0',
  // Opens /reset_prefix_cache, /sleep and others, which the router must keep closed.
  VLLM_SERVER_DEV_MODE: '1',
  // Keeps responses, so that GET /v1/responses/{id} has something to find.
  VLLM_ENABLE_RESPONSES_API_STORE: '1',
}
