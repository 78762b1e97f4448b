/** Real engines as child processes: two vLLM pods that serve `tiny`, one llama.cpp pod that serves `tiny-llama`. */
import { join } from 'node:path'
import { freePort } from '../free-port.js'
import { type Engine, launch, ready } from './engine.js'
import { step } from './harness.js'
import type { Installation } from './install.js'
import { paths } from './paths.js'
import { startVllm } from './vllm.js'

/** Tokens in a KV block: the CPU build of vLLM 0.32 takes no other. */
export const BLOCK_SIZE = 32
/** Tokens of prompt and answer together. */
export const CONTEXT_LENGTH = 4096
export const LLAMACPP_MODEL = 'tiny-llama'

export interface Engines {
  readonly vllm: readonly [Engine, Engine]
  readonly llamacpp: Engine
}

export function startEngines(installation: Installation): Promise<Engines> {
  return step('starting two vLLMs and a llama.cpp', () => start(installation))
}

async function start(installation: Installation): Promise<Engines> {
  const started = performance.now()
  const llamacpp = await startLlamacpp(installation)
  const vllm = [await startLarge('vllm-a', installation), await startLarge('vllm-b', installation)] as const
  await ready([llamacpp, ...vllm], started)
  return { vllm, llamacpp }
}

async function startLarge(name: string, { vllmPython, modelDir }: Installation): Promise<Engine> {
  return startVllm({
    name,
    port: await freePort(),
    python: vllmPython,
    modelDir,
    blockSize: BLOCK_SIZE,
    // 65,536 tokens: all cases together, so that nothing is evicted; 32 MB.
    blocks: 2_048,
    contextLength: CONTEXT_LENGTH,
  })
}

async function startLlamacpp({ llamacppPython, gguf }: Installation): Promise<Engine> {
  const port = await freePort()
  const args = [join(paths.python, 'serve_llamacpp.py'), gguf, `${port}`, LLAMACPP_MODEL]
  return launch({ name: 'llamacpp', model: LLAMACPP_MODEL, port, command: llamacppPython, args })
}
