/** What the router tests share: the real router on free ports, in front of simulated engines or of raw sockets. */
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import OpenAI from 'openai'
import { z } from 'zod'
import { type ConfigInput, configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import { chooseListener } from '#phyllo/server/listener/choose.js'
import { nodeCanShare } from '#phyllo/server/listener/node.js'
import { type RunningRouter, startRouter } from '#phyllo/server/router.js'
import { type RunningEngine, startEngine } from '#phyllo/simulation/engine/http.js'
import type { EngineOptionsInput } from '#phyllo/simulation/engine/options.js'
import { answerWith, type Pod, type PodRequest, startPod } from '../execution/kit-pods.js'

export type EngineName = 'node' | 'uws'

const uwsFault = await chooseListener('uws').then(
  () => undefined,
  (error: unknown) => String(error),
)

/** Defines tests once for each HTTP server that loads here; says in the output when uWebSockets.js does not. */
export function forEachEngine(define: (engine: EngineName) => void): void {
  define('node')
  if (uwsFault === undefined) define('uws')
  else test('uws: NOT RUN, as uWebSockets.js does not load on this machine', t => t.log(uwsFault) ?? t.pass())
}

/** Worker counts that an HTTP server can run with: several only where it can share a port. */
export const workerCounts = (engine: EngineName): readonly number[] =>
  engine === 'uws' || nodeCanShare() ? [1, 3] : [1]

/** A directory with a small tokenizer and a chat template. */
export const modelDir = fileURLToPath(new URL('../../../demo/model', import.meta.url))

const podRow = z.looseObject({
  id: z.string(),
  models: z.array(z.string()),
  cordoned: z.boolean(),
  healthy: z.boolean().nullable(),
  reason: z.string().nullable(),
  state: z.string(),
  breaker: z.string(),
  inflight: z.number(),
  pendingTokens: z.number(),
  activeTokens: z.number(),
})
const podList = z.object({ pods: z.array(podRow) })
export type PodRow = z.infer<typeof podRow>

export interface TestRouter extends RunningRouter {
  readonly port: number
  readonly client: OpenAI
  pods(): Promise<readonly PodRow[]>
  pod(id: string): Promise<PodRow>
  /** Asks the admin port. */
  admin(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>
}

async function launch(engine: EngineName, config: ConfigInput): Promise<TestRouter> {
  const parsed = configSchema.parse({
    log: { level: 'silent' },
    health: { intervalMs: 100 },
    // None unless a test is about it: of pods that joined one after the other, the later ones would miss some of their
    // turns, once a busy machine has made the test some seconds long.
    slowStartMs: 0,
    ...config,
    listen: { host: '127.0.0.1', port: 0, workers: 1, ...config.listen, engine },
    admin: { port: 0 },
    timeouts: { drainMs: 1000, ...config.timeouts },
    // Off unless a test is about it: raw pods count what they are asked.
    scrape: { intervalMs: 0, ...config.scrape },
  })
  return testRouter(await startRouter(toRouterOptions(parsed)))
}

/** A router for this test alone; when the test ends, nothing may be in flight any more. */
export async function routerFor(
  t: ExecutionContext,
  engine: EngineName,
  config: ConfigInput,
): Promise<TestRouter> {
  const router = await launch(engine, config)
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= router.close()
    return closing
  }
  t.teardown(async () => {
    try {
      if (closing === undefined) await nothingInFlight(router)
    } finally {
      await close()
    }
  })
  return { ...router, close }
}

/**
 * One router for all tests of a file, which are serial then: a worker thread takes half a second of a core to start.
 * Each test brings its own pods with `join`.
 */
export function sharedRouter(engine: EngineName, config: ConfigInput = {}): () => Promise<TestRouter> {
  let started: Promise<TestRouter> | undefined
  test.after.always(async () => (await started)?.close())
  return () => {
    started ??= launch(engine, config)
    return started
  }
}

/** Adds pods (id → URL) until the test ends; then nothing may be in flight any more. */
export async function join(
  t: ExecutionContext,
  router: TestRouter,
  pods: Readonly<Record<string, string>>,
  fields: { models?: readonly string[] } = {},
): Promise<TestRouter> {
  t.teardown(async () => {
    try {
      await nothingInFlight(router)
    } finally {
      for (const id of Object.keys(pods)) await router.admin('DELETE', `/pods/${id}`)
    }
  })
  for (const [id, url] of Object.entries(pods)) {
    const answer = await router.admin('POST', '/pods', { url, id, ...fields })
    if (answer.status !== 201) throw new Error(await answer.text())
    await answer.text()
  }
  return router
}

export function testRouter(running: RunningRouter): TestRouter {
  const { url, adminUrl } = running
  const admin: TestRouter['admin'] = (method, path, body, headers) => {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const init: RequestInit = { method, headers: { ...headers } }
    if (text !== undefined) init.body = text
    return fetch(`${adminUrl}${path}`, init)
  }
  const pods = async () => podList.parse(await (await admin('GET', '/pods')).json()).pods
  return {
    ...running,
    url,
    adminUrl,
    port: Number(new URL(url).port),
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'secret-key', maxRetries: 0 }),
    admin,
    pods,
    pod: async id => podRow.parse(await (await admin('GET', `/pods/${encodeURIComponent(id)}`)).json()),
  }
}

/** A booking that is never given back makes its pod look busy for ever. */
export async function nothingInFlight(router: TestRouter): Promise<void> {
  let busy: readonly PodRow[] = []
  for (let i = 0; i < 100; i++) {
    busy = (await router.pods()).filter(pod => pod.inflight + pod.pendingTokens + pod.activeTokens !== 0)
    if (busy.length === 0) return
    await sleep(50)
  }
  throw new Error(`in flight after all requests have ended: ${JSON.stringify(busy)}`)
}

/** An engine fast enough that no test waits for its model. */
export async function engineFor(
  t: ExecutionContext,
  options: EngineOptionsInput = {},
): Promise<RunningEngine> {
  const engine = await startEngine({ port: 0, model: 'tiny', speed: 500, listen: 'node', ...options })
  t.teardown(() => engine.close())
  return engine
}

/** Engines with the ids a, b, c, … */
export async function enginesFor(t: ExecutionContext, count: number, options: EngineOptionsInput = {}) {
  const engines = await Promise.all(Array.from({ length: count }, () => engineFor(t, options)))
  const pods = engines.map(({ url }, i) => ({ url, id: String.fromCharCode(97 + i) }))
  return { engines, pods }
}

/** The same, behind the router. */
export async function joinEngines(t: ExecutionContext, router: TestRouter, count: number) {
  const { engines, pods } = await enginesFor(t, count)
  await join(t, router, Object.fromEntries(pods.map(({ id, url }) => [id, url])))
  return engines
}

export interface RawPod extends Pod {
  /** Requests but for health checks and model lists. */
  inference(): readonly PodRequest[]
}

/** A pod on a raw socket that is healthy and serves 'tiny', and answers all else as the test likes. */
export async function rawPodFor(t: ExecutionContext, answer: (request: PodRequest) => void): Promise<RawPod> {
  const models = JSON.stringify({ object: 'list', data: [{ id: 'tiny', object: 'model' }] })
  const own = (head: string) => /^GET \/(?:health|v1\/models) /.test(head)
  const pod = await startPod(t, request => {
    if (own(request.head)) request.socket.write(answerWith(200, models))
    else answer(request)
  })
  return { ...pod, inference: () => pod.requests.filter(({ head }) => !own(head)) }
}

/** The least that a chat client accepts as an answer. */
export const chatAnswer = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 0,
  model: 'tiny',
  choices: [{ index: 0, message: { role: 'assistant', content: 'leaf' }, finish_reason: 'stop' }],
})

export const user = (content: string) => ({ role: 'user' as const, content })

/** A chat request as text. */
export const chatBody = (fields: Record<string, unknown> = {}): string =>
  JSON.stringify({ model: 'tiny', messages: [user('hello')], max_tokens: 4, ...fields })

export const post = (
  router: RunningRouter,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  path = '/v1/chat/completions',
): Promise<Response> =>
  fetch(`${router.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  })

/** Sends a chat and reads its answer away; gives the pod that served it. */
export async function podOf(
  router: RunningRouter,
  fields: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<string> {
  const answer = await post(router, chatBody(fields), headers)
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text}`)
  return answer.headers.get('x-phyllo-pod') ?? ''
}

const errorBody = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
})

/** The OpenAI-style error of an answer; throws if it is none. */
export const errorOf = (text: string) => errorBody.parse(JSON.parse(text)).error

/** Status and code of an answer that must be an OpenAI-style error. */
export async function fault(answer: Response) {
  const text = await answer.text()
  const { code, param, message } = errorOf(text)
  if (!answer.headers.has('x-request-id')) throw new Error(`an answer without x-request-id: ${text}`)
  return { status: answer.status, code, param, message, headers: answer.headers }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Waits until `done` holds, twenty seconds at most unless told otherwise. */
export async function until(
  done: () => boolean | Promise<boolean>,
  what: string,
  seconds = 20,
): Promise<void> {
  const deadline = Date.now() + 1000 * seconds
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain until ${what}`)
    await sleep(10)
  }
}

export const countBy = (items: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const item of items) counts[item] = (counts[item] ?? 0) + 1
  return counts
}
