/** Hedges and cascades through the whole router: what raw pods see of it, and what is counted. */
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { answerWith, chunked, lastChunk, type PodRequest, streamHead } from '../execution/kit-pods.js'
import { until } from '../execution/kit-until.js'
import { nothingInFlight, rawPodFor, routerFor, type TestRouter } from './router-kit.js'

const labelMatch = fileURLToPath(new URL('../../../test/config/fixtures/label-match.mjs', import.meta.url))

const lines = async (router: TestRouter, name: string): Promise<string[]> =>
  (await (await router.admin('GET', '/metrics')).text())
    .split('\n')
    .filter(line => line.startsWith(`${name}{`))

/** Until the router's counts are these, since a worker counts after the answer is out. */
async function counted(router: TestRouter, name: string, wanted: readonly string[]): Promise<string[]> {
  let last: string[] = []
  for (let i = 0; i < 100; i++) {
    last = (await lines(router, name)).sort()
    if (JSON.stringify(last) === JSON.stringify(wanted)) break
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  return last
}

const asked = (router: TestRouter, fields: object = {}) =>
  fetch(`${router.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'tiny',
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
      ...fields,
    }),
  })

const event = (content: string): Buffer =>
  chunked(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)

function says(text: string) {
  return ({ socket }: PodRequest): void => {
    socket.write(Buffer.concat([Buffer.from(streamHead), event(text), Buffer.from(lastChunk)]))
  }
}

test('the pod that lost sees its connection end while the other’s answer is still under way; all of it is counted', async t => {
  let answer: (request: PodRequest) => void = says('first')
  let late: PodRequest | undefined
  const silent: PodRequest[] = []
  const one = await rawPodFor(t, request => answer(request))
  const two = await rawPodFor(t, request => {
    late = request
    request.socket.write(streamHead)
    request.socket.write(event('second'))
  })
  const labels = (turn: string) => ({ labels: { turn } })
  const router = await routerFor(t, 'node', {
    plugins: [labelMatch],
    pods: [
      { url: one.origin, id: 'one', ...labels('first') },
      { url: two.origin, id: 'two', ...labels('second') },
    ],
    profiles: {
      hedged: {
        score: [{ 'label-match': { label: 'turn', value: 'first' } }],
        pick: 'max-score',
        execute: { hedged: { minWaitMs: 50, budget: 0.02 } },
      },
    },
    defaults: { profile: 'hedged' },
    breaker: { latencyFactor: 0 },
  })
  for (let i = 0; i < 64; i++) await (await asked(router)).text()
  answer = request => void silent.push(request)
  const response = await asked(router)
  t.is(response.headers.get('x-phyllo-pod'), 'two')
  const loser = silent[0]
  await until(t, () => loser?.socket.destroyed === true, 'the loser sees the end of its connection')
  t.deepEqual(
    (await router.pods()).map(({ id, inflight }) => [id, inflight]),
    [
      ['one', 0],
      ['two', 1],
    ],
  )
  late?.socket.write(lastChunk)
  t.regex(await response.text(), /second/)
  const wanted = [
    'phyllo_hedges_total{model="tiny",result="sent"} 1',
    'phyllo_hedges_total{model="tiny",result="won"} 1',
  ]
  t.deepEqual(await counted(router, 'phyllo_hedges_total', wanted), wanted)
  await nothingInFlight(router)
})

test('a cascade’s answers are counted by what was thought of them', async t => {
  let cheap = '{"choices":[{"message":{"content":"Paris"},"finish_reason":"stop"}]}'
  const pod = await rawPodFor(t, ({ socket, body }) =>
    socket.write(answerWith(200, body.includes('"cheap"') ? cheap : '{"choices":[]}')),
  )
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.origin, id: 'one', models: ['tiny', 'cheap'] }],
    profiles: { cascade: { pick: 'max-score', execute: { cascade: { first: { model: 'cheap' } } } } },
    defaults: { profile: 'cascade' },
  })
  t.regex(await (await asked(router)).text(), /Paris/)
  cheap = '<html>'
  for (let i = 0; i < 2; i++) t.is(await (await asked(router)).text(), '{"choices":[]}')
  const wanted = [
    'phyllo_cascade_answers_total{model="tiny",result="sufficed"} 1',
    'phyllo_cascade_answers_total{model="tiny",result="unreadable"} 2',
  ]
  t.deepEqual(await counted(router, 'phyllo_cascade_answers_total', wanted), wanted)
  const steps = await lines(router, 'phyllo_step_duration_seconds_count')
  t.true(steps.some(line => line.includes('step="first"')))
})
