/** The router under test: `phyllo serve -c FILE` as a child process, before the real engines. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { z } from 'zod'
import { freePort } from '../free-port.js'
import { BLOCK_SIZE, type Engines, LLAMACPP_MODEL, VLLM_MODEL } from './engines.js'
import { seconds, until } from './harness.js'
import { paths } from './paths.js'
import { Child } from './processes.js'

export interface Router {
  readonly url: string
  readonly adminUrl: string
  readonly process: Child
}

const START_MS = 60_000

export async function startRouter(engines: Engines, modelDir: string): Promise<Router> {
  const started = performance.now()
  const port = await freePort()
  const adminPort = await freePort()
  const file = join(paths.cache, 'phyllo.yaml')
  writeFileSync(file, stringify(config(engines, modelDir, port, adminPort)))
  const args = [paths.cli, 'serve', '-c', file]
  const child = new Child('router', process.execPath, args, join(paths.cache, 'logs', 'router.log'))
  const router = {
    url: `http://127.0.0.1:${port}`,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    process: child,
  }
  try {
    await until(START_MS, 'the router lists both models', async () => {
      if (child.ended !== undefined) throw new Error(`the router ended: ${child.ended}`)
      return (await hasModels(router)) || undefined
    })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${reason}\n${child.evidence(50)}`)
  }
  console.log(`# the router is up at ${router.url} (${seconds(started)})`)
  return router
}

function config({ vllm, llamacpp }: Engines, modelDir: string, port: number, adminPort: number) {
  return {
    // Two workers, so that what they must share is shared or a case fails.
    listen: { host: '127.0.0.1', port, workers: 2 },
    admin: { port: adminPort },
    pods: [...vllm, llamacpp].map(({ name, url }) => ({ id: name, url })),
    models: [VLLM_MODEL, LLAMACPP_MODEL].map(name => ({
      name,
      dir: modelDir,
      blockSize: BLOCK_SIZE,
      profile: 'cache-aware',
    })),
    // Often, so that a killed pod is soon noticed; but an engine that has the CPU to share may take its time.
    health: { intervalMs: 1_000, timeoutMs: 10_000, unhealthyAfter: 2 },
    // No pod is out for being slow: how fast each is here depends on what else runs on the machine.
    breaker: { latencyFactor: 0 },
    log: { level: 'info', format: 'text' },
  }
}

async function hasModels({ url }: Router): Promise<boolean> {
  const names = await modelNames(url).catch((): string[] => [])
  return names.includes(VLLM_MODEL) && names.includes(LLAMACPP_MODEL)
}

const modelList = z.object({ data: z.array(z.object({ id: z.string() })) })

export async function modelNames(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/models`)
  return modelList.parse(await answer.json()).data.map(({ id }) => id)
}

/** What the cases look at of `POST /explain`. */
const explanation = z.object({
  prepare: z.object({ prompt: z.object({ tokens: z.number(), exact: z.boolean() }) }),
  selections: z
    .array(
      z.object({
        cache: z.object({ tokens: z.record(z.string(), z.number()) }).nullable(),
        ranking: z.array(z.string()),
      }),
    )
    .min(1),
})

export interface Explanation {
  readonly promptTokens: number
  /** The model's own tokens, not an estimate. */
  readonly exact: boolean
  /** The pod that it would go to. */
  readonly pod: string
  /** Prompt tokens that each pod is thought to have in its cache. */
  readonly cachedTokens: Readonly<Record<string, number>>
}

/** The decision about a request that is not sent. */
export async function explain(router: Router, path: string, body: object): Promise<Explanation> {
  const url = `${router.adminUrl}/explain?path=${encodeURIComponent(path)}`
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`/explain answers ${answer.status}: ${text}`)
  const { prepare, selections } = explanation.parse(JSON.parse(text))
  const pod = selections[0]?.ranking[0] ?? ''
  const cachedTokens = selections[0]?.cache?.tokens ?? {}
  return { promptTokens: prepare.prompt.tokens, exact: prepare.prompt.exact, pod, cachedTokens }
}
