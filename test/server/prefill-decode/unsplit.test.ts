/** What cannot be split, in a fleet whose pods all play one part: the client is told why, until a pod serves it whole. */
import test from 'ava'
import { errorOf } from '../router-kit.js'
import { ask, said } from './ask.js'
import { chat, completion, enginesOf, type Fleet, fleetFor, served, settled } from './kit.js'

type Refused = readonly [body: Record<string, unknown>, why: RegExp]

const echo = (): Refused => [
  completion({ echo: true, logprobs: 1 }),
  /echo with logprobs needs the whole prompt/,
]
const refused: Readonly<Record<'sglang' | 'p2p-nccl', () => readonly Refused[]>> = {
  sglang: () => [
    echo(),
    [chat({ n: 2 }), /n is not 1, and a hand-off has one consumer/],
    [chat({ n: 2, stream: true }), /n is not 1/],
    [completion({ prompt: Array.from({ length: 1025 }, () => 'a') }), /a batch of 1025 prompts; 1 to 1024/],
  ],
  'p2p-nccl': () => [
    echo(),
    [chat({ use_beam_search: true, n: 2 }), /use_beam_search: a search is many generations/],
    [chat({ prompt_logprobs: 1 }), /prompt_logprobs need the whole prompt/],
  ],
}

const total = (fleet: Fleet): number => enginesOf(fleet).reduce((sum, engine) => sum + served(engine), 0)

async function toldWhy(fleet: Fleet, connector: 'sglang' | 'p2p-nccl'): Promise<string[]> {
  const wrong: string[] = []
  for (const [body, why] of refused[connector]()) {
    const answer = await ask(fleet.router.url, body)
    const { code, message } = errorOf(answer.text)
    const isRight = answer.status === 400 && code === 'invalid_request' && why.test(message)
    if (!isRight || !/no pod serves whole requests of 'tiny'/.test(message)) wrong.push(answer.text)
  }
  return wrong
}

for (const connector of ['sglang', 'p2p-nccl'] as const) {
  for (const fallback of [undefined, 'single']) {
    test.serial(
      `${connector}, fallback ${fallback ?? 'of none'}: 400 with the reason, and 200 from a mixed pod`,
      async t => {
        const fleet = await fleetFor(t, { connector, ...(fallback && { execute: { fallback } }) })
        const { router, alone } = fleet
        t.deepEqual(await toldWhy(fleet, connector), [])
        t.is(total(fleet), 0, 'no engine has seen any of them')
        t.is((await ask(router.url, chat())).status, 200, 'others are split as ever')
        const explained = await router.admin('POST', '/explain', chat({ prompt_logprobs: 1 }))
        t.is(explained.status, 400)
        t.regex(await explained.text(), /prompt_logprobs need the whole prompt/)
        await settled(fleet)

        const added = await router.admin('POST', '/pods', { url: alone.url, id: 'mixed', models: ['tiny'] })
        t.is(added.status, 201, await added.text())
        for (const [body] of refused[connector]()) {
          const answer = await ask(router.url, body)
          t.deepEqual([answer.status, answer.headers.get('x-phyllo-pod')], [200, 'mixed'], answer.text)
        }
        await router.admin('POST', '/pods/mixed/cordon')
        const [body] = echo()
        const cordoned = await ask(router.url, body)
        t.deepEqual([cordoned.status, errorOf(cordoned.text).code], [503, 'no_pod'], 'it may be back soon')
        await settled(fleet)
      },
    )
  }
}

test.serial(
  'without any decode pod it is the pods that are missing, and the request is not wrong',
  async t => {
    const fleet = await fleetFor(t, { connector: 'sglang' })
    for (const id of ['decode-0', 'decode-1'])
      await (await fleet.router.admin('DELETE', `/pods/${id}`)).text()
    for (const body of [chat(), chat({ n: 2 })]) {
      const answer = await ask(fleet.router.url, body)
      t.deepEqual([answer.status, errorOf(answer.text).code], [503, 'no_pod'], answer.text)
    }
  },
)

for (const hintField of [false, true]) {
  const place = hintField ? 'body and header' : 'header'
  test.serial(
    `generic: decode is given the hint in its ${place}, and computes none of the prompt’s full blocks`,
    async t => {
      const fleet = await fleetFor(t, { connector: 'generic', execute: { hintField } })
      const { router, alone, decode, prefill } = fleet
      let blocks = 0
      for (const stream of [false, true]) {
        const body = chat({ stream, stream_options: stream ? { include_usage: true } : undefined })
        const expected = await said(alone.url, body)
        t.deepEqual(await said(router.url, body), expected)
        blocks += Math.floor(((expected.usage?.prompt_tokens ?? 0) - 1) / 16)
      }
      t.true(blocks > 20)
      t.is(decode[0].stats().remoteTokens, blocks * 16)
      t.like(decode[0].handOffs(), { received: 2, missed: 0 })
      t.is(prefill[0].handOffs().pulled, 2)
      await settled(fleet)
    },
  )
}
