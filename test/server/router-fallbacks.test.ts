/** A model whose pods are all out is served by the next of its chain, under that one's name. */
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import { answerWith } from '../execution/kit-pods.js'
import { chatAnswer, chatBody, errorOf, podOf, post, rawPodFor, routerFor } from './router-kit.js'

test('along the chain while pods are out, and back when they are in again', async t => {
  const asked: string[] = []
  const engine = (id: string) =>
    rawPodFor(t, ({ socket, body }) => {
      asked.push(`${id} ${JSON.parse(body.toString()).model}`)
      socket.write(answerWith(200, chatAnswer))
    })
  const [big, small, tiny] = await Promise.all(['big', 'small', 'tiny'].map(engine))
  if (big === undefined || small === undefined || tiny === undefined) return t.fail()
  const router = await routerFor(t, 'node', {
    models: [
      { name: 'big', aliases: ['best'], fallbacks: ['never-heard-of', 'little', 'tiny'] },
      { name: 'small', aliases: ['little'] },
      { name: 'tiny' },
    ],
    pods: [
      { id: 'b', url: big.origin, models: ['big'] },
      { id: 's', url: small.origin, models: ['small'] },
      { id: 't', url: tiny.origin, models: ['tiny'] },
    ],
  })
  const ask = (model: string) => podOf(router, { model })
  const cordon = (id: string, how = 'cordon') => router.admin('POST', `/pods/${id}/${how}`)
  t.is(await ask('best'), 'b')
  await cordon('b')
  t.is(await ask('best'), 's')
  t.is(await ask('big'), 's')
  await cordon('s')
  t.is(await ask('big'), 't')
  await cordon('t')
  const answer = await post(router, chatBody({ model: 'big' }))
  t.is(answer.status, 503)
  t.regex(errorOf(await answer.text()).message, /'big'/)
  await cordon('b', 'uncordon')
  t.is(await ask('big'), 'b')
  // Who has no chain waits for its own.
  t.is((await post(router, chatBody({ model: 'small' }))).status, 503)
  t.deepEqual(asked, ['big big', 'small small', 'small small', 'tiny tiny', 'big big'])
})

test('a response is gone on from under the name of the model that gave it, whichever of the chain is in', async t => {
  const asked: string[] = []
  const engine = (id: string) =>
    rawPodFor(t, ({ socket, body }) => {
      const { model } = JSON.parse(body.toString())
      asked.push(`${id} ${model}`)
      const response = { id: `resp_${id}`, object: 'response', model, status: 'completed', output: [] }
      socket.write(answerWith(200, JSON.stringify(response)))
    })
  const [big, small] = await Promise.all(['big', 'small'].map(engine))
  if (big === undefined || small === undefined) return t.fail()
  const router = await routerFor(t, 'node', {
    models: [{ name: 'big', fallbacks: ['small'] }, { name: 'small' }],
    pods: [
      { id: 'b', url: big.origin, models: ['big'] },
      { id: 's', url: small.origin, models: ['small'] },
    ],
  })
  const respond = async (more: Record<string, string>) => {
    const body = JSON.stringify({ model: 'big', input: 'x', ...more })
    const answer = await post(router, body, {}, '/v1/responses')
    return { status: answer.status, text: await answer.text() }
  }
  const cordon = (how: string) => router.admin('POST', `/pods/b/${how}`)
  t.is((await respond({})).status, 200)
  await cordon('cordon')
  t.is((await respond({})).status, 200)
  // The pod that has the state is out: nobody else can go on, under no name.
  t.is((await respond({ previous_response_id: 'resp_big' })).status, 503)
  await cordon('uncordon')
  t.is((await respond({ previous_response_id: 'resp_small' })).status, 200)
  t.is((await respond({ previous_response_id: 'resp_big' })).status, 200)
  t.deepEqual(asked, ['big big', 'small small', 'small small', 'big big'])
})

test('a model is no fallback for itself, and the entry for all models has none', t => {
  const issuesOf = (models: string): string => {
    const loaded = parseConfig(`models: ${models}\n`)
    return loaded.ok ? 'none' : formatIssues(loaded.issues)
  }
  t.regex(
    issuesOf('[{ name: a, fallbacks: [b, a] }]'),
    /models\[0\]\.fallbacks\[1\].*no fallback for itself/s,
  )
  t.regex(issuesOf('[{ name: a, aliases: [x], fallbacks: [x] }]'), /no fallback for itself/)
  t.regex(issuesOf('[{ name: "*", fallbacks: [x] }]'), /leave its fallbacks out/)
  t.is(issuesOf('[{ name: a, fallbacks: [b] }]'), 'none')
})
