/** Whatever a pod does wrong gives the error it should, or goes to the next one; and the router serves the next request. */
import type { Socket } from 'node:net'
import test from 'ava'
import { answerWith, chunked, deadOrigin, lastChunk, streamHead } from '../execution/kit-pods.js'
import { ask } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  engineFor,
  errorOf,
  fault,
  forEachEngine,
  join,
  podOf,
  post,
  rawPodFor,
  sharedRouter,
  until,
} from './router-kit.js'

forEachEngine(engine => {
  const shared = sharedRouter(engine, {
    // Long enough for a healthy answer on a busy machine; two tests below wait for it.
    timeouts: { firstByteMs: 1_500, idleMs: 1_500 },
    breaker: { failures: 1_000 },
    health: { intervalMs: 100, unhealthyAfter: 100 },
    models: [{ name: 'capped', profile: 'capped' }],
    profiles: {
      capped: {
        filter: ['healthy', 'circuit-closed', { 'concurrency-cap': { max: 1 } }],
        pick: 'random',
        execute: 'single',
      },
    },
  })

  test.serial(
    `${engine}: a pod that closes, or answers garbage, is 502; the next one is asked first`,
    async t => {
      const misdeeds: Record<string, (socket: Socket) => void> = {
        pod_closed_early: socket => socket.destroy(),
        pod_bad_response: socket => socket.end('HTP/9.9 what?\r\n\r\n'),
      }
      for (const [code, misdeed] of Object.entries(misdeeds)) {
        const bad = await rawPodFor(t, ({ socket }) => misdeed(socket))
        const router = await join(t, await shared(), { [`bad-${code}`]: bad.origin })
        for (let i = 0; i < 3; i++) {
          const answer = await fault(await post(router, chatBody()))
          t.deepEqual([answer.status, answer.code], [502, code])
          t.is(answer.headers.get('x-phyllo-pod'), `bad-${code}`)
          t.truthy(answer.headers.get('x-request-id'))
        }
        const good = await engineFor(t)
        await join(t, router, { good: good.url })
        // Which of the two is asked first is a matter of chance.
        await until(async () => {
          t.is(await podOf(router), 'good')
          return bad.inference().length > 3
        }, 'the bad one was asked in between')
        await router.admin('DELETE', `/pods/bad-${code}`)
        await router.admin('DELETE', '/pods/good')
      }
    },
  )

  test.serial(`${engine}: an answer that breaks off looks broken: no silent end`, async t => {
    const half = '{"id":"chatcmpl-1","obj'
    const pod = await rawPodFor(t, ({ head, socket }) => {
      if (/x-case: json/i.test(head)) socket.end(answerWith(200, half.padEnd(200)).slice(0, -100))
      else {
        socket.write(streamHead)
        socket.write(chunked('data: {"choices":[]}\n\n'))
        if (/x-case: clean/i.test(head)) socket.write(lastChunk)
        else setTimeout(() => socket.destroy(), 50)
      }
    })
    const router = await join(t, await shared(), { bad: pod.origin })
    const path = '/v1/chat/completions'
    const body = chatBody({ stream: true })
    const json = await ask(router.port, { path, body, headers: { 'x-case': 'json' } })
    t.deepEqual([json.status, json.complete], [200, false])
    const cut = await ask(router.port, { path, body })
    t.deepEqual([cut.status, cut.complete], [200, true])
    const [, last = ''] = /\n\nevent: error\ndata: (.*)\n\n$/.exec(cut.body) ?? []
    t.is(errorOf(last).code, 'pod_closed_early')
    const clean = await ask(router.port, { path, body, headers: { 'x-case': 'clean' } })
    t.is(clean.body, 'data: {"choices":[]}\n\n')
  })

  test.serial(
    `${engine}: a pod that never answers is 504; one that goes silent ends with an error event`,
    async t => {
      const pod = await rawPodFor(t, ({ head, socket }) => {
        if (/x-case: silent/i.test(head)) socket.write(streamHead + chunked('data: {}\n\n'))
        else if (/x-case: well/i.test(head)) socket.write(answerWith(200, chatAnswer))
      })
      const router = await join(t, await shared(), { hung: pod.origin })
      const answer = await fault(await post(router, chatBody()))
      t.deepEqual([answer.status, answer.code], [504, 'pod_timeout'])
      t.is(answer.headers.get('x-phyllo-pod'), 'hung')
      const silent = await ask(router.port, {
        path: '/v1/chat/completions',
        body: chatBody({ stream: true }),
        headers: { 'x-case': 'silent' },
      })
      t.regex(silent.body, /^data: \{\}\n\n\n\nevent: error\ndata: .*"pod_timeout"/)
      t.is((await post(router, chatBody(), { 'x-case': 'well' })).status, 200)
    },
  )

  test.serial(`${engine}: connections refused are 502, or go to the next pod; 5xx as well`, async t => {
    const sick = await engineFor(t, { fault: 'error=503' })
    const good = await engineFor(t)
    const router = await join(t, await shared(), { dead: deadOrigin() }, { models: ['tiny'] })
    const refused = await fault(await post(router, chatBody()))
    t.deepEqual([refused.status, refused.code], [502, 'pod_unreachable'])
    t.is(refused.headers.get('x-phyllo-pod'), 'dead')
    await join(t, router, { sick: sick.url })
    const both = await post(router, chatBody())
    t.true(both.status === 502 || both.status === 503, `status ${both.status}`)
    await both.text()
    await join(t, router, { good: good.url })
    for (let i = 0; i < 8; i++) t.is(await podOf(router), 'good')
    // Streams too, as nothing has gone to the client.
    const stream = await post(router, chatBody({ stream: true }))
    t.regex(await stream.text(), /data: \[DONE\]\n\n$/)
  })

  test.serial(`${engine}: no pod is 503 with retry-after; overloaded pods as well`, async t => {
    const router = await shared()
    const capped = (fields = {}) => chatBody({ model: 'capped', ...fields })
    const none = await fault(await post(router, chatBody()))
    t.deepEqual([none.status, none.code, none.headers.get('retry-after')], [503, 'no_pod', '1'])
    const slow = await engineFor(t, { model: 'capped', speed: 0.5 })
    await join(t, router, { slow: slow.url })
    const client = new AbortController()
    const first = fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      body: capped({ max_tokens: 1_000, stream: true }),
      signal: client.signal,
    })
    await until(async () => (await router.pod('slow')).inflight === 1, 'the first is on its way')
    const full = await fault(await post(router, capped()))
    t.deepEqual([full.status, full.code, full.headers.get('retry-after')], [503, 'overloaded', '1'])
    client.abort()
    await t.throwsAsync(
      first.then(answer => answer.text()),
      { any: true },
    )
    await until(async () => (await router.pod('slow')).inflight === 0, 'the abort frees the place')
    t.is(await podOf(router, { model: 'capped', max_tokens: 1 }), 'slow')
    await router.admin('POST', '/pods/slow/cordon')
    const cordoned = await fault(await post(router, capped()))
    t.deepEqual([cordoned.status, cordoned.code], [503, 'no_pod'])
  })
})
