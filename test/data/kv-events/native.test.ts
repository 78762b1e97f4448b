/** From socket to index, with the real feed on its thread: what is known of an engine is what it holds. */
import test, { type ExecutionContext } from 'ava'
import { freePort } from '../../free-port.js'
import { Engine } from './engine.js'
import type { LossyOptions } from './lossy-publisher.js'
import { publisher, TestRouter } from './router-kit.js'
import { until } from './until.js'

async function engineWith(t: ExecutionContext, options: LossyOptions): Promise<Engine> {
  const engine = new Engine(await publisher(t, options))
  t.teardown(() => engine.publisher.close())
  return engine
}

const FORMATS = [
  { form: 'map', dialect: 'vllm' },
  { form: 'array', dialect: 'vllm' },
  { form: 'map', dialect: 'sglang' },
] as const

for (const format of FORMATS) {
  for (const replay of ['topic', 'bare'] as const) {
    test(`lost messages are replayed, and the pod is exact (${format.dialect} ${format.form}, ${replay})`, async t => {
      const engine = await engineWith(t, { format, replay })
      const router = new TestRouter(t)
      const pod = await router.add(engine)
      await engine.publisher.subscribed()
      engine.store(0, 0, 8)
      engine.store(1, 0, 4)
      engine.storeUnheard(1, 4, 8)
      engine.publisher.lose(engine.removed(0, 6, 8))
      engine.store(1, 8, 12)
      await router.agrees(t, pod, engine, 2)
      t.is(router.status(pod).lost, 0)
    })
  }
}

test('two pods at one place: the first is followed, the second would be believed to hold its blocks', async t => {
  const engine = await engineWith(t, {})
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  const twin = await router.add(engine)
  await engine.publisher.subscribed()
  engine.store(0, 0, 8)
  await router.agrees(t, pod, engine, 1)
  t.is(router.status(twin).mode, 'predicted')
  t.is(router.log.filter(line => line.includes('they are not followed')).length, 1)
  await router.registry.remove(pod.id)
  let conversation = 1
  const isHeard = (): boolean => {
    engine.store(conversation++, 0, 4)
    return router.status(twin).mode === 'stale'
  }
  await until(isHeard, 'the second is followed once the first is gone')
})

test('without a replay a loss makes a pod stale, and a clear makes it exact again', async t => {
  const engine = await engineWith(t, {})
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  engine.store(0, 0, 8)
  await router.agrees(t, pod, engine, 1)
  engine.storeUnheard(1, 0, 4)
  engine.store(2, 0, 4)
  await router.mode(pod, 'stale')
  t.is(router.status(pod).lost, 1)
  t.is(router.depth(pod, 0), 8, 'what was known is still good for a guess')
  t.is(router.depth(pod, 2), 4)
  engine.clear()
  engine.store(3, 0, 4)
  await router.agrees(t, pod, engine, 4)
})

test('a warm engine that can replay all is exact', async t => {
  const engine = await engineWith(t, { replay: 'topic' })
  for (let index = 0; index < 300; index++) engine.storeUnheard(index, 0, 4)
  engine.publisher.lose(engine.removed(0, 2, 4))
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await router.agrees(t, pod, engine, 300)
})

test('a warm engine that has forgotten its beginning is stale; what it has told is known', async t => {
  const engine = await engineWith(t, { replay: 'topic', buffer: 10 })
  for (let index = 0; index < 30; index++) engine.storeUnheard(index, 0, 4)
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await router.mode(pod, 'stale')
  await router.reaches(pod, 29)
  t.is(router.depth(pod, 25), 4)
  t.is(router.depth(pod, 5), 0)
  await engine.publisher.subscribed()
  engine.clear()
  engine.store(1, 0, 4)
  await router.agrees(t, pod, engine, 30)
})

test('a warm engine without replay is stale from its first message on', async t => {
  const engine = await engineWith(t, {})
  engine.storeUnheard(0, 0, 4)
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  engine.store(1, 0, 4)
  await router.mode(pod, 'stale')
  t.is(router.depth(pod, 1), 4)
  t.is(router.depth(pod, 0), 0)
})

for (const replay of ['topic', undefined] as const) {
  test(`an engine that starts anew has lost its cache (${replay === undefined ? 'no replay' : 'replay'})`, async t => {
    const engine = await engineWith(t, { replay })
    const router = new TestRouter(t)
    const pod = await router.add(engine)
    await engine.publisher.subscribed()
    for (let index = 0; index < 20; index++) engine.store(index, 0, 4)
    await router.agrees(t, pod, engine, 20)
    await engine.restart()
    await engine.publisher.subscribed()
    engine.store(7, 0, 3)
    await router.agrees(t, pod, engine, 20)
    t.is(router.status(pod).restarts, 1)
  })
}

test('messages that come twice count once', async t => {
  const engine = await engineWith(t, {})
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  for (let index = 0; index < 20; index++) {
    const message = engine.store(index, 0, 4)
    engine.publisher.send(message)
    if (index % 2 === 0) engine.drop(index, 2, 4)
    engine.publisher.send(message)
  }
  engine.clear()
  engine.store(0, 0, 1)
  await router.agrees(t, pod, engine, 20)
  t.is(router.status(pod).duplicates, 40)
})

test('messages that overtake each other are applied in order', async t => {
  const engine = await engineWith(t, {})
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  engine.store(0, 0, 1)
  for (let index = 1; index < 50; index++) {
    // A child before its parent, and a removal before what it removes.
    const late = [engine.storeUnheard(index, 0, 2), engine.storeUnheard(index, 2, 4)]
    engine.drop(index, 3, 4)
    for (const message of late.reverse()) engine.publisher.send(message)
  }
  await router.agrees(t, pod, engine, 50)
  t.is(router.status(pod).lost, 0)
})

test('a flood of a million blocks is held, or replayed', async t => {
  t.timeout(180_000)
  const engine = await engineWith(t, { replay: 'topic' })
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  const messages = 15_625
  for (let index = 0; index < messages; index++) {
    engine.store(index, 0, 64)
    if (index % 500 === 0) await engine.publisher.sent()
  }
  await until(
    () => router.status(pod).sequence === messages - 1,
    () => `${JSON.stringify(router.status(pod))} ${router.log.join('')}`,
  )
  const { mode, blocks, lost } = router.status(pod)
  t.deepEqual({ mode, blocks, lost }, { mode: 'exact', blocks: 1_000_000, lost: 0 })
  for (let index = 0; index < messages; index += 997) t.is(router.depth(pod, index), 64)
})

test('a pod that lies is counted and stale; its neighbour is not disturbed', async t => {
  const liar = await engineWith(t, {})
  const honest = await engineWith(t, {})
  const router = new TestRouter(t)
  const pods = [await router.add(liar), await router.add(honest)] as const
  await Promise.all([liar.publisher.subscribed(), honest.publisher.subscribed()])
  liar.store(0, 0, 4)
  const garbage = [
    Buffer.alloc(0),
    Buffer.from('not msgpack at all'),
    // Arrays of four billion items, and of a depth.
    Buffer.from([0x93, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 0xff, 0xff, 0xff, 0xff]),
    Buffer.alloc(100_000, 0x91),
    // Right by form, wrong by types.
    Buffer.from([0x93, 0xc0, 0xa3, 0x61, 0x62, 0x63, 0xc3]),
  ]
  for (const payload of garbage) liar.publisher.send(liar.publisher.keep(payload))
  // No sequence number.
  liar.publisher.raw([Buffer.from(''), Buffer.from('abc'), Buffer.from('x')])
  liar.store(1, 0, 4)
  for (let index = 0; index < 50; index++) honest.store(index, 0, 4)
  await router.agrees(t, pods[1], honest, 50)
  await router.reaches(pods[0], 6)
  t.is(router.status(pods[0]).mode, 'stale')
  t.is(router.status(pods[0]).malformed, 6)
  t.is(router.depth(pods[0], 1), 4)
})

test('a message of 65 MiB ends the connection; afterwards all is well', async t => {
  const engine = await engineWith(t, { replay: 'topic' })
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await engine.publisher.subscribed()
  engine.store(0, 0, 4)
  await router.agrees(t, pod, engine, 1)
  engine.publisher.raw([Buffer.from(''), Buffer.alloc(8), Buffer.alloc(65 * 1024 * 1024)])
  await until(() => engine.publisher.subscriptions === 2, 'subscribed again')
  engine.storeUnheard(1, 0, 4)
  engine.store(2, 0, 4)
  await router.agrees(t, pod, engine, 3)
})

test('a pod removed during its replay leaves nothing behind', async t => {
  const engine = await engineWith(t, { replay: 'topic' })
  engine.publisher.endsReplays = false
  for (let index = 0; index < 100; index++) engine.storeUnheard(index, 0, 4)
  const router = new TestRouter(t)
  const pod = await router.add(engine)
  await until(() => engine.publisher.asked.length === 1, 'a replay')
  await router.registry.remove(pod.id)
  await engine.publisher.unsubscribed()
  engine.publisher.endsReplays = true
  const again = await router.add(engine)
  t.not(again.ref, pod.ref)
  await router.agrees(t, again, engine, 100)
})

test('an engine that dials in and was out of service: the same one is known as before, another one as it is', async t => {
  const bind = `tcp://127.0.0.1:${await freePort()}`
  const dial = { endpoint: bind, dial: true, topic: 'kv@alpha@m', replay: 'topic' } as const
  const engine = await engineWith(t, dial)
  const replayPort = Number(engine.publisher.replayEndpoint?.split(':').at(-1))
  const router = new TestRouter(t, { dialIn: { bind: [bind], replayPort, firstSequence: 0 } })
  const pod = await router.registry.add({ url: 'http://127.0.0.1:1', id: 'alpha', models: ['m'] })
  await engine.publisher.subscribed()
  engine.store(0, 0, 4)
  await router.agrees(t, pod, engine, 1)
  const isBack = async (meanwhile: () => Promise<void> | void): Promise<void> => {
    router.registry.setHealth(pod, false, 'no answer')
    await meanwhile()
    router.registry.setHealth(pod, true, undefined)
    router.events.verify(pod.ref)
  }

  await isBack(() => {})
  await router.agrees(t, pod, engine, 1)
  await until(() => engine.publisher.asked.length > 0, 'it is asked')
  engine.store(1, 0, 2)
  await router.agrees(t, pod, engine, 2)
  t.is(router.status(pod).restarts, 0)

  await isBack(async () => {
    await engine.restart()
    for (let i = 0; i < 2; i++) engine.storeUnheard(2, 3 * i, 3 * i + 3)
  })
  await until(() => router.status(pod).restarts === 1, 'another engine is seen')
  await router.agrees(t, pod, engine, 3)
})

test('the router’s restart finds what its predecessor knew', async t => {
  const engine = await engineWith(t, { replay: 'topic' })
  const before = new TestRouter(t)
  const pod = await before.add(engine)
  await engine.publisher.subscribed()
  for (let index = 0; index < 30; index++) engine.store(index, 0, 4)
  await before.agrees(t, pod, engine, 30)
  await before.close()
  await engine.publisher.unsubscribed()
  engine.storeUnheard(31, 0, 4)
  const after = new TestRouter(t)
  await after.agrees(t, await after.add(engine), engine, 32)
})

test('64 pods at once, each losing, repeating and reordering', async t => {
  t.timeout(120_000)
  const router = new TestRouter(t)
  const engines = await Promise.all(Array.from({ length: 64 }, () => engineWith(t, { replay: 'topic' })))
  const pods = []
  for (const engine of engines) pods.push(await router.add(engine))
  await Promise.all(engines.map(engine => engine.publisher.subscribed()))
  for (let round = 0; round < 100; round++) {
    engines.forEach((engine, i) => {
      const kind = (round * 31 + i * 17) % 20
      if (kind === 0) engine.storeUnheard(round, 0, 2)
      else if (kind === 1) {
        const late = engine.storeUnheard(round, 0, 1)
        engine.store(round, 1, 3)
        engine.publisher.send(late)
      } else if (kind === 2) engine.publisher.send(engine.store(round, 0, 2))
      else if (kind === 3) engine.drop((round * 7) % (round + 1), 0, 1)
      else engine.store(round, 0, 2)
    })
    await new Promise(resolve => setImmediate(resolve))
  }
  // A loss shows with the next message.
  for (const engine of engines) engine.store(200, 0, 1)
  for (const [i, engine] of engines.entries()) {
    const pod = pods[i]
    if (pod !== undefined) await router.agrees(t, pod, engine, 100)
  }
})
