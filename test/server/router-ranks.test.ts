/** Data-parallel engines: one URL, a pod for each rank, and the rank named in each request's header. */
import test from 'ava'
import { answerWith } from '../execution/kit-pods.js'
import {
  chatAnswer,
  chatBody,
  countBy,
  type EngineName,
  fault,
  forEachEngine,
  post,
  rawPodFor,
  routerFor,
} from './router-kit.js'

const rankOf = (head: string): string | undefined => /^x-data-parallel-rank: (.*)\r$/im.exec(head)?.[1]

forEachEngine((engine: EngineName) => {
  test.serial(`${engine}: each rank gets its share, by a header that no client can set`, async t => {
    const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
    const router = await routerFor(t, engine, {
      pods: [{ url: pod.origin, id: 'e', dataParallel: 3, kvEvents: 'tcp://127.0.0.1:5557' }],
      defaults: { profile: 'round-robin' },
    })
    const served: string[] = []
    for (let i = 0; i < 12; i++) {
      const answer = await post(router, chatBody(), { 'x-data-parallel-rank': '2' })
      await answer.text()
      served.push(answer.headers.get('x-phyllo-pod') ?? '')
    }
    t.deepEqual(countBy(served), { 'e-dp0': 4, 'e-dp1': 4, 'e-dp2': 4 })
    const ranks = pod.inference().map(({ head }) => rankOf(head))
    t.deepEqual(
      ranks.map(rank => `e-dp${rank}`),
      served,
    )
  })

  test.serial(`${engine}: a pod of one rank is sent what the client sent`, async t => {
    const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
    const router = await routerFor(t, engine, { pods: [{ url: pod.origin, id: 'e' }] })
    await (await post(router, chatBody())).text()
    await (await post(router, chatBody(), { 'x-data-parallel-rank': '7' })).text()
    t.deepEqual(
      pod.inference().map(({ head }) => rankOf(head)),
      [undefined, '7'],
    )
    t.like(await router.pod('e'), { rank: null })
  })

  test.serial(`${engine}: an engine's name stands for all its ranks, a rank's id for itself`, async t => {
    const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
    const router = await routerFor(t, engine, { defaults: { profile: 'round-robin' } })
    const added = await router.admin('POST', '/pods', { url: pod.origin, id: 'e', dataParallel: 2 })
    t.is(added.status, 201)
    t.like(await added.json(), {
      id: 'e',
      pods: [
        { id: 'e-dp0', rank: 0 },
        { id: 'e-dp1', rank: 1 },
      ],
    })
    for (const id of ['e', 'e-dp1']) {
      const again = await fault(await router.admin('POST', '/pods', { url: 'http://127.0.0.1:9', id }))
      t.deepEqual([again.status, again.code], [400, 'invalid_request'])
    }
    const cordoned = async () => (await router.pods()).map(row => [row.id, row.cordoned])
    await router.admin('POST', '/pods/e/cordon')
    t.deepEqual(await cordoned(), [
      ['e-dp0', true],
      ['e-dp1', true],
    ])
    t.is((await fault(await post(router, chatBody()))).code, 'no_pod')
    await router.admin('POST', '/pods/e-dp1/uncordon')
    t.deepEqual(await cordoned(), [
      ['e-dp0', true],
      ['e-dp1', false],
    ])
    t.is((await post(router, chatBody())).headers.get('x-phyllo-pod'), 'e-dp1')
    await router.admin('DELETE', '/pods/e-dp0')
    t.deepEqual(await cordoned(), [['e-dp1', false]])
    await router.admin('DELETE', '/pods/e')
    t.deepEqual(await cordoned(), [])
    t.is((await router.admin('DELETE', '/pods/e')).status, 404)
  })
})
