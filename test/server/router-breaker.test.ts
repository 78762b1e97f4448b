/** Circuit breakers over HTTP, with one and with three worker threads: one circuit a pod, whoever found it out. */
import test from 'ava'
import { answerWith, type PodRequest } from '../execution/kit-pods.js'
import { ask } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  forEachEngine,
  join,
  rawPodFor,
  routerFor,
  sleep,
  type TestRouter,
  until,
  workerCounts,
} from './router-kit.js'

const shipped = ['random', 'round-robin', 'least-request', 'cache-aware', 'session-sticky', 'consistent-hash']
const good = ({ socket }: PodRequest) => socket.write(answerWith(200, chatAnswer))
const failing = ({ socket }: PodRequest) => socket.write(answerWith(500, '{"error":{"message":"dead"}}'))

/** Short, for the tests that wait until it is over. */
const COOLDOWN_MS = 300

/** A chat on a connection of its own, so that any of the workers may get it. */
async function chat(router: TestRouter, model: string, key: string, stream = false) {
  const messages = [{ role: 'user', content: `${key} says hello` }]
  const body = chatBody({ model, user: key, messages, stream })
  const answer = await ask(router.port, { path: '/v1/chat/completions', body })
  return answer.status === 200 ? String(answer.headers['x-phyllo-pod']) : String(answer.status)
}

forEachEngine(engine => {
  for (const workers of workerCounts(engine)) {
    const where = `${engine}, ${workers} worker${workers > 1 ? 's' : ''}`

    test.serial(
      `${where}: a circuit opens for all workers and profiles, and closes by one probe`,
      async t => {
        let answer = failing
        const bad = await rawPodFor(t, request => answer(request))
        const fine = await rawPodFor(t, good)
        const router = await routerFor(t, engine, {
          listen: { workers },
          breaker: { failures: 3, cooldownMs: 60_000, latencyFactor: 0 },
          models: shipped.map(name => ({ name, profile: name })),
        })
        for (const profile of shipped) {
          // A new generation of the pod has a circuit of its own: each profile finds out for itself.
          await router.admin('POST', '/pods', { url: bad.origin, id: 'bad', models: shipped })
          await router.admin('POST', '/pods', { url: fine.origin, id: 'fine', models: shipped })
          const before = bad.inference().length
          for (let i = 0; i < 24; i++) t.is(await chat(router, profile, `user ${i}`), 'fine', profile)
          t.is(bad.inference().length - before, 3, `${profile}: three failures, and no request more`)
          t.is((await router.pod('bad')).breaker, 'open')
          t.is((await router.pod('fine')).breaker, 'closed')
          for (const id of ['bad', 'fine']) await router.admin('DELETE', `/pods/${id}`)
        }
        answer = good
      },
    )

    test.serial(`${where}: after its rest, exactly one of many requests is the probe`, async t => {
      const probes: PodRequest[] = []
      let answer: (request: PodRequest) => unknown = failing
      const bad = await rawPodFor(t, request => answer(request))
      const fine = await rawPodFor(t, good)
      const router = await routerFor(t, engine, {
        listen: { workers },
        breaker: { failures: 2, cooldownMs: COOLDOWN_MS, latencyFactor: 0 },
        defaults: { profile: 'round-robin' },
      })
      await join(t, router, { bad: bad.origin, fine: fine.origin })
      const one = (i: number) => chat(router, 'tiny', `user ${i}`)
      const open = async () => {
        while ((await router.pod('bad')).breaker === 'closed') await one(0)
        answer = request => probes.push(request)
        await until(async () => (await router.pod('bad')).breaker === 'half-open', 'it has rested')
      }
      await open()
      const asked = Promise.all(Array.from({ length: 30 }, (_, i) => one(i)))
      await until(() => probes.length === 1, 'the probe is there')
      await until(
        async () => (await router.pod('fine')).inflight === 0 && fine.inference().length >= 29,
        'the rest went by',
      )
      t.is(probes.length, 1)
      const [probe] = probes.splice(0)
      if (probe === undefined) return t.fail()
      // It fails: the circuit rests again, and the request goes to the other pod.
      const failedAt = performance.now()
      failing(probe)
      t.deepEqual(new Set(await asked), new Set(['fine']))
      const { breaker } = await router.pod('bad')
      // On a busy machine the rest may be over by now.
      if (performance.now() - failedAt < COOLDOWN_MS) t.is(breaker, 'open')
      else t.not(breaker, 'closed')

      await until(async () => (await router.pod('bad')).breaker === 'half-open', 'it has rested again')
      answer = good
      for (let i = 0; i < 4; i++) await one(i)
      await until(async () => (await router.pod('bad')).breaker === 'closed', 'the probe has closed it')
      const served = new Set<string>()
      for (let i = 0; i < 4; i++) served.add(await one(i))
      t.deepEqual([...served].sort(), ['bad', 'fine'])
    })

    test.serial(
      `${where}: cache-aware leaves a pod whose streams start far later than the others' (once, any pod with long answers)`,
      async t => {
        // Milliseconds that an answer of the others took at most, of late: more than the router measures of them.
        let most = 0
        const slow = await rawPodFor(t, async request => {
          // Far later than the others on a busy machine, too.
          await sleep(Math.min(Math.max(400, 4 * most), 3_000))
          good(request)
        })
        const others = [await rawPodFor(t, good), await rawPodFor(t, good)]
        const router = await routerFor(t, engine, {
          listen: { workers },
          // The floor is far above what an idle pod takes on a busy machine.
          breaker: { cooldownMs: 60_000, latencyFactor: 3, latencyFloorMs: 250 },
          defaults: { profile: 'cache-aware' },
        })
        const [a, b] = others.map(({ origin }) => origin)
        await join(t, router, { slow: slow.origin, a: a ?? '', b: b ?? '' })
        let i = 0
        const timed = async (stream: boolean) => {
          const started = performance.now()
          const served = await chat(router, 'tiny', `user ${i++}`, stream)
          if (served !== 'slow') most = Math.max(most, performance.now() - started)
        }
        const batch = (stream = true) => {
          most *= 0.8
          return Promise.all(Array.from({ length: 9 }, () => timed(stream)))
        }
        for (let round = 0; round < 10; round++) await batch(false)
        t.true(slow.inference().length > 8)
        t.is(
          (await router.pod('slow')).breaker,
          'closed',
          'an answer that comes whole says nothing of the wait',
        )
        for (let round = 0; round < 30 && (await router.pod('slow')).breaker === 'closed'; round++)
          await batch()
        t.is((await router.pod('slow')).breaker, 'open')
        const before = slow.inference().length
        for (let round = 0; round < 5; round++) await batch()
        t.is(slow.inference().length, before)
        t.deepEqual([(await router.pod('a')).breaker, (await router.pod('b')).breaker], ['closed', 'closed'])
      },
    )
  }
})
