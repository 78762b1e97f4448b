/** Streams of simulated engines that die in the middle of them, gone on with by another through the real router. */
import test from 'ava'
import OpenAI, { APIError } from 'openai'
import { engineFor, forEachEngine, modelDir, routerFor, type TestRouter, user } from './router-kit.js'

type Params = Omit<OpenAI.Chat.ChatCompletionCreateParamsStreaming, 'model' | 'stream'>

interface Heard {
  readonly text: string
  readonly ids: ReadonlySet<string>
  readonly finish: string
  readonly usage: OpenAI.CompletionUsage | undefined
  readonly pod: string
}

/** What the OpenAI client makes of a stream. */
async function hear(client: OpenAI, params: Params): Promise<Heard> {
  const { data, response } = await client.chat.completions
    .create({ model: 'tiny', stream: true, ...params })
    .withResponse()
  const ids = new Set<string>()
  let text = ''
  let finish = ''
  let usage: OpenAI.CompletionUsage | undefined
  for await (const { id, choices, usage: counted } of data) {
    ids.add(id)
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason ?? finish
    usage = counted ?? usage
  }
  return { text, ids, finish, usage, pod: response.headers.get('x-phyllo-pod') ?? '' }
}

const resumes = async (router: TestRouter, result: string): Promise<number> => {
  const page = await (await router.admin('GET', '/metrics')).text()
  return Number(
    new RegExp(`^phyllo_resumes_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(page)?.[1] ?? Number.NaN,
  )
}

/** A fair turn for each pod, so that half of the requests meet the one that dies. */
const inTurn = (prepare: readonly string[], single: object) => ({
  prepare: [...prepare],
  filter: ['healthy'],
  score: [],
  pick: 'round-robin',
  execute: { single },
})

forEachEngine(engine => {
  for (const isCounted of [true, false]) {
    const what = isCounted ? 'counted by the tokenizer' : 'without limits'
    test.serial(`${engine}: streams of an engine that dies are gone on with, ${what}`, async t => {
      const options = { seed: 7, answerTokens: 24, ...(isCounted && { modelDir }) }
      const [dying, well, alone] = await Promise.all([0, 1, 2].map(() => engineFor(t, options)))
      if (dying === undefined || well === undefined || alone === undefined) return t.fail()
      const common = {
        breaker: { failures: 1000 },
        ...(isCounted && { models: [{ name: 'tiny', dir: modelDir }] }),
      }
      const router = await routerFor(t, engine, {
        ...common,
        pods: [
          { id: 'dying', url: dying.url },
          { id: 'well', url: well.url },
        ],
        profiles: { own: inTurn(isCounted ? ['tokenize'] : [], { resume: { attempts: 1 } }) },
        defaults: { profile: 'own' },
      })
      const direct = new OpenAI({ baseURL: `${alone.url}/v1`, apiKey: 'none', maxRetries: 0 })
      let hits = 0
      // The role and 14 tokens: behind these nothing but the usage is missing, which nobody else can tell.
      for (let after = 1; after < 15; after++) {
        dying.setFault(`die=${after}`)
        const params: Params = {
          messages: [user(`A leaf, number ${after >> 1}, and its neighbours on the stem.`)],
          ...(isCounted && { max_tokens: 14, stream_options: { include_usage: true } }),
        }
        const expected = await hear(direct, params)
        const heard = await hear(router.client, params)
        t.is(heard.text, expected.text, `after ${after} events`)
        t.is(heard.finish, expected.finish)
        t.is(heard.ids.size, 1)
        if (isCounted) {
          const { completion_tokens = 0, prompt_tokens = 0 } = expected.usage ?? {}
          t.is(heard.usage?.completion_tokens, completion_tokens)
          t.is(heard.usage?.prompt_tokens, prompt_tokens)
          t.is(heard.usage?.total_tokens, prompt_tokens + completion_tokens)
        }
        if (heard.pod === 'dying') hits++
      }
      t.true(hits > 0)
      t.is((await resumes(router, 'resumed')) + (await resumes(router, 'whole')), hits)
      t.is(await resumes(router, 'failed'), 0)
      t.is(await resumes(router, 'unfit'), 0)
    })
  }

  test.serial(`${engine}: without resume a stream of an engine that dies ends with an error`, async t => {
    const dying = await engineFor(t)
    const well = await engineFor(t)
    const router = await routerFor(t, engine, {
      pods: [
        { id: 'dying', url: dying.url },
        { id: 'well', url: well.url },
      ],
      profiles: { own: inTurn([], {}) },
      defaults: { profile: 'own' },
    })
    dying.setFault('die=4')
    well.setFault('die=4')
    await t.throwsAsync(hear(router.client, { messages: [user('A leaf.')] }), { instanceOf: APIError })
    t.is(await resumes(router, 'resumed'), 0)
  })
})
