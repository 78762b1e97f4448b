/** Real engines as child processes: two vLLM pods that serve `tiny`, one llama.cpp pod that serves `tiny-llama`. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../free-port.js'
import { seconds, step, until } from './harness.js'
import type { Installation } from './install.js'
import { paths } from './paths.js'
import { Child } from './processes.js'

/** Tokens in a KV block: the CPU build of vLLM 0.32 takes no other. */
export const BLOCK_SIZE = 32
/** Tokens of prompt and answer together. */
export const CONTEXT_LENGTH = 4096
export const VLLM_MODEL = 'tiny'
export const LLAMACPP_MODEL = 'tiny-llama'

/** Two vLLMs take 35 s on two idle cores; eight times as long is for machines that others keep busy. */
const START_MS = 300_000

/** Lines of log: a vLLM that cannot start ends with 100 lines of what followed from the one line that says why. */
const START_EVIDENCE = 200

export interface Engine {
  /** Also its id at the router. */
  readonly name: string
  readonly model: string
  readonly url: string
  readonly process: Child
}

export interface Engines {
  readonly vllm: readonly [Engine, Engine]
  readonly llamacpp: Engine
}

export function startEngines(installation: Installation): Promise<Engines> {
  return step('starting two vLLMs and a llama.cpp', () => start(installation))
}

async function start(installation: Installation): Promise<Engines> {
  mkdirSync(join(paths.cache, 'logs'), { recursive: true })
  const started = performance.now()
  const llamacpp = await startLlamacpp(installation)
  const vllm = [await startVllm('vllm-a', installation), await startVllm('vllm-b', installation)] as const
  for (const engine of [llamacpp, ...vllm]) {
    await healthy(engine)
    console.log(`# ${engine.name} is up at ${engine.url} (${seconds(started)})`)
  }
  // The first request of a fresh engine takes seconds; it should not weigh on any case.
  await Promise.all([llamacpp, ...vllm].map(warmUp))
  return { vllm, llamacpp }
}

async function startVllm(name: string, { vllm, modelDir }: Installation): Promise<Engine> {
  const port = await freePort()
  const args = [
    ...['serve', modelDir, '--served-model-name', VLLM_MODEL, '--host', '127.0.0.1', '--port', `${port}`],
    ...['--dtype', 'bfloat16', '--max-model-len', `${CONTEXT_LENGTH}`, '--max-num-seqs', '16'],
    ...['--block-size', `${BLOCK_SIZE}`, '--enable-prefix-caching', '--enable-prompt-tokens-details'],
    // 65,536 tokens: all cases together, so that nothing is evicted; 32 MB.
    ...['--num-gpu-blocks-override', '2048', '--enforce-eager'],
    // Without a parser, requests with tools are refused.
    ...['--enable-auto-tool-choice', '--tool-call-parser', 'hermes'],
  ]
  const env = {
    ...process.env,
    HF_HUB_OFFLINE: '1',
    VLLM_NO_USAGE_STATS: '1',
    DO_NOT_TRACK: '1',
    VLLM_CACHE_ROOT: join(paths.cache, 'vllm-cache'),
    VLLM_CPU_KVCACHE_SPACE: '1',
    VLLM_CPU_OMP_THREADS_BIND: 'nobind',
    OMP_NUM_THREADS: '1',
    // The engine's core is a child process; forked, it need not load half a gigabyte of Python a second time.
    VLLM_WORKER_MULTIPROC_METHOD: 'fork',
    // Opens /reset_prefix_cache, /sleep and others, which the router must keep closed.
    VLLM_SERVER_DEV_MODE: '1',
    // Keeps responses, so that GET /v1/responses/{id} has something to find.
    VLLM_ENABLE_RESPONSES_API_STORE: '1',
  }
  return launch(name, VLLM_MODEL, port, vllm, args, env)
}

async function startLlamacpp({ llamacppPython, gguf }: Installation): Promise<Engine> {
  const port = await freePort()
  const script = join(paths.python, 'serve_llamacpp.py')
  return launch('llamacpp', LLAMACPP_MODEL, port, llamacppPython, [script, gguf, `${port}`, LLAMACPP_MODEL])
}

function launch(
  name: string,
  model: string,
  port: number,
  command: string,
  args: readonly string[],
  env?: NodeJS.ProcessEnv,
): Engine {
  const log = join(paths.cache, 'logs', `${name}.log`)
  return { name, model, url: `http://127.0.0.1:${port}`, process: new Child(name, command, args, log, env) }
}

async function healthy({ name, url, process: child }: Engine): Promise<void> {
  try {
    await until(START_MS, `${name} answers /health`, async () => {
      if (child.ended !== undefined) throw new Error(`${name} ended: ${child.ended}`)
      return (await answers(`${url}/health`)) || undefined
    })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${reason}\n${child.evidence(START_EVIDENCE)}`)
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(5_000) })).ok
  } catch {
    return false
  }
}

async function warmUp({ name, url, model }: Engine): Promise<void> {
  const body = JSON.stringify({ model, prompt: 'Good morning.', max_tokens: 2 })
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body })
  if (!answer.ok)
    throw new Error(`${name} answers its first request ${answer.status}: ${await answer.text()}`)
}

/** A sum over all series of a metric whose labels hold the given text. */
export async function metric(engine: Engine, name: string, labels = ''): Promise<number> {
  const page = await (await fetch(`${engine.url}/metrics`)).text()
  const lines = page.split('\n').filter(line => line.startsWith(`${name}{`) && line.includes(labels))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
