/** An engine as a child process: its start, its first request, its metrics. */
import { seconds, until } from './harness.js'
import { logFileOf } from './paths.js'
import { Child } from './processes.js'

/** What vLLM and SGLang call the model. */
export const VLLM_MODEL = 'tiny'

/** Two vLLMs take 35 s on two idle cores, an SGLang 65 s; ten times as long is for machines that others keep busy. */
const START_MS = 600_000

/** Lines of log: a vLLM that cannot start ends with 100 lines of what followed from the one line that says why. */
const START_EVIDENCE = 200

export interface Engine {
  /** Also its id at the router. */
  readonly name: string
  readonly model: string
  readonly url: string
  readonly process: Child
}

export interface LaunchOptions {
  readonly name: string
  readonly model: string
  readonly port: number
  readonly command: string
  readonly args: readonly string[]
  /** Besides this process's own. */
  readonly env?: NodeJS.ProcessEnv
}

export function launch({ name, model, port, command, args, env }: LaunchOptions): Engine {
  const child = new Child(name, command, args, logFileOf(name), { ...process.env, ...env })
  return { name, model, url: `http://127.0.0.1:${port}`, process: child }
}

/** Waits until all answer, and gives each its first request, which takes seconds: it should not weigh on any case. */
export async function ready(engines: readonly Engine[], started: number): Promise<void> {
  for (const engine of engines) {
    await healthy(engine)
    console.log(`# ${engine.name} is up at ${engine.url} (${seconds(started)})`)
  }
  await Promise.all(engines.map(warmUp))
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
