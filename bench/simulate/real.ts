/** The workload over HTTP and by the clock: simulated engines in processes of their own behind the real router. */
import { Agent, request } from 'undici'
import { z } from 'zod'
import { startDemoRouter } from '#phyllo/simulation/demo-router.js'
import { demoModelDir } from '#phyllo/simulation/demo-run.js'
import type { Fleet } from '#phyllo/simulation/fleet.js'
import { MODEL } from '#phyllo/simulation/virtual/router.js'
import type { VirtualRequest } from '#phyllo/simulation/virtual/workload.js'

export interface Measured {
  readonly meanTtftMs: number
  readonly hitRate: number
}

/**
 * Sends each request at its time, and a follow-up after the answer that it follows. Rejects if one fails. Times are the
 * model's: at a speed of 0.5 its second takes two by the clock.
 */
export async function measureReal(
  fleet: Fleet,
  profile: string,
  requests: readonly VirtualRequest[],
  blockSize: number,
  speed: number,
): Promise<Measured> {
  // Runs in virtual time leave no time to notice which idle connections the engines have closed meanwhile.
  await pause(200)
  await fleet.resetCaches()
  const pods = fleet.urls.map((url, at) => ({ id: `pod-${at + 1}`, url }))
  // Prompts come as token ids: of the model's files nothing is used.
  const modelDir = demoModelDir()
  const router = await startDemoRouter({
    pods,
    model: MODEL,
    modelDir,
    blockSize,
    profile,
    port: 0,
    workers: 1,
  })
  const agent = new Agent({ connections: requests.length, pipelining: 1 })
  try {
    const startedAt = performance.now()
    const ended: Promise<void>[] = []
    const results: Answer[] = []
    requests.forEach(({ atMs, after, thinkMs, prompt, outputTokens, session }, at) => {
      const body = withUsage(prompt.body(MODEL, outputTokens, session))
      ended[at] = (async () => {
        if (after !== null) {
          await ended[after]
          await pause(thinkMs / speed)
        }
        await pause(atMs / speed - (performance.now() - startedAt))
        results[at] = await ask(agent, router.url, body)
      })()
    })
    await Promise.all(ended)
    return summaryOf(results, speed)
  } finally {
    await agent.close()
    await router.close()
  }
}

interface Answer {
  readonly ttftMs: number
  readonly promptTokens: number
  readonly cachedTokens: number
}

const usageEvent = z.object({
  usage: z.object({
    prompt_tokens: z.number(),
    prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
  }),
})

async function ask(agent: Agent, url: string, body: Buffer): Promise<Answer> {
  const headers = { 'content-type': 'application/json' }
  const sentAt = performance.now()
  const answer = await request(`${url}/v1/completions`, { dispatcher: agent, method: 'POST', headers, body })
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${await answer.body.text()}`)
  let firstAt = 0
  let text = ''
  for await (const piece of answer.body) {
    if (firstAt === 0) firstAt = performance.now()
    text += String(piece)
  }
  const line = text.split('\n').find(each => each.startsWith('data: ') && each.includes('"usage":{'))
  const { usage } = usageEvent.parse(JSON.parse((line ?? '').slice('data: '.length)))
  const cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? 0
  return { ttftMs: firstAt - sentAt, promptTokens: usage.prompt_tokens, cachedTokens }
}

/** The body with what the real engine must be told besides: its answer's length is fixed, its usage wanted. */
function withUsage(body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from('{"ignore_eos":true,"stream_options":{"include_usage":true},'),
    body.subarray(1),
  ])
}

function summaryOf(answers: readonly Answer[], speed: number): Measured {
  const sum = (of: (answer: Answer) => number): number => answers.reduce((total, each) => total + of(each), 0)
  return {
    meanTtftMs: (sum(({ ttftMs }) => ttftMs) * speed) / answers.length,
    hitRate: sum(({ cachedTokens }) => cachedTokens) / sum(({ promptTokens }) => promptTokens),
  }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))
