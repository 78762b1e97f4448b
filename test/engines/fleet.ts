/** What every case is given: the engines, the router before them, and an OpenAI client of the router. */
import { request } from 'node:http'
import OpenAI from 'openai'
import type { Engine } from './engine.js'
import { type Engines, LLAMACPP_MODEL } from './engines.js'
import type { Case } from './harness.js'
import type { Router } from './router.js'

export interface Fleet {
  readonly engines: Engines
  readonly router: Router
  readonly client: OpenAI
}

export type FleetCase = Case<Fleet>

/** No retries: a failure that a second try would hide is a failure. */
export const clientOf = (url: string): OpenAI =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 60_000 })

/** The engines that serve a model. */
export const enginesOf = ({ vllm, llamacpp }: Engines, model: string): readonly Engine[] =>
  model === LLAMACPP_MODEL ? [llamacpp] : vllm

/** The engine with the name that `x-phyllo-pod` gave. */
export function engineNamed({ vllm, llamacpp }: Engines, name: string | null): Engine {
  const engine = [...vllm, llamacpp].find(candidate => candidate.name === name)
  if (engine === undefined) throw new Error(`no engine is named ${name}`)
  return engine
}

export interface RawAnswer {
  readonly status: number
  readonly pod: string | null
  readonly text: string
}

/** A request without a client between, byte for byte. */
export async function post(url: string, path: string, body: object | string): Promise<RawAnswer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body: text })
  return { status: answer.status, pod: answer.headers.get('x-phyllo-pod'), text: await answer.text() }
}

/** A request whose path goes out as written; fetch would tidy it. */
export function requestRaw(url: string, method: string, path: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method, path, agent: false }, incoming => {
      const parts: Buffer[] = []
      incoming.on('data', (part: Buffer) => parts.push(part))
      incoming.once('error', reject)
      incoming.once('end', () => {
        const pod = incoming.headers['x-phyllo-pod']
        const text = Buffer.concat(parts).toString()
        resolve({ status: incoming.statusCode ?? 0, pod: typeof pod === 'string' ? pod : null, text })
      })
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}
