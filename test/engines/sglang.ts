/** SGLang on the CPU as a child process. */
import { type Engine, launch, VLLM_MODEL } from './engine.js'
import { type EventOptions, kvEventsConfig } from './kv-events.js'

export interface SglangOptions {
  /** The router's id for it, too. */
  readonly name: string
  readonly port: number
  /** The Python of the environment that it is installed in. */
  readonly python: string
  readonly modelDir: string
  /** Tokens in a page. */
  readonly pageSize: number
  /** Tokens of the whole cache. */
  readonly tokens: number
  /** Tokens of prompt and answer together. */
  readonly contextLength: number
  readonly events: EventOptions
}

export function startSglang(options: SglangOptions): Engine {
  const { name, port, python, modelDir, pageSize, tokens, contextLength, events } = options
  const args = [
    ...['-m', 'sglang.launch_server', '--model-path', modelDir, '--served-model-name', VLLM_MODEL],
    ...['--host', '127.0.0.1', '--port', `${port}`, '--device', 'cpu', '--dtype', 'bfloat16'],
    ...['--attention-backend', 'torch_native', '--sampling-backend', 'pytorch'],
    ...['--disable-cuda-graph', '--disable-overlap-schedule', '--mem-fraction-static', '0.05'],
    ...[
      '--context-length',
      `${contextLength}`,
      '--max-total-tokens',
      `${tokens}`,
      '--page-size',
      `${pageSize}`,
    ],
    // Metrics tell the page size, and the report how much of a prompt was cached.
    ...['--enable-metrics', '--enable-cache-report', '--kv-events-config', kvEventsConfig(events)],
  ]
  return launch({ name, model: VLLM_MODEL, port, command: python, args, env: environment })
}

const environment = {
  HF_HUB_OFFLINE: '1',
  SGLANG_USE_CPU_ENGINE: '1',
  SGLANG_DISABLE_TELEMETRY: '1',
  SGLANG_CPU_OMP_THREADS_BIND: '0',
  OMP_NUM_THREADS: '1',
}
