/** The event thread from outside: started when needed, started again when it dies, gone when it is told to. */
import { Worker } from 'node:worker_threads'
import test from 'ava'
import type { ThreadBirth } from '#phyllo/data/kv-events/source.js'
import { Engine } from './engine.js'
import { DIE } from './mortal-thread.js'
import { publisher, TestRouter } from './router-kit.js'
import { until } from './until.js'

const THREAD = new URL('./mortal-thread.js', import.meta.url)

/** Starts threads as the router does, and keeps them for a test that ends them. */
function keeping(threads: Worker[]) {
  return (birth: ThreadBirth): Worker => {
    const worker = new Worker(THREAD, { workerData: birth })
    threads.push(worker)
    return worker
  }
}

test('pods without events need no thread', async t => {
  const threads: Worker[] = []
  const router = new TestRouter(t, { spawn: keeping(threads) })
  await router.registry.add({ url: 'http://a.test:8000', models: ['m'] })
  t.is(threads.length, 0)
  const engine = new Engine(await publisher(t))
  // Its model is not known yet.
  const pod = await router.add(engine, { models: [] })
  t.is(threads.length, 0)
  await router.registry.setModels(pod, ['m'])
  t.is(threads.length, 1)
  await engine.publisher.subscribed()
  engine.store(0, 0, 4)
  await router.agrees(t, pod, engine, 1)
  await router.registry.setModels(pod, ['m', 'adapter'])
  engine.store(0, 4, 8)
  await router.agrees(t, pod, engine, 1)
  t.is(threads.length, 1)
})

test('a thread that dies is started again: who can replay is exact again, who cannot is stale', async t => {
  const threads: Worker[] = []
  const router = new TestRouter(t, { spawn: keeping(threads) })
  const engines = [
    new Engine(await publisher(t, { replay: 'topic' })),
    new Engine(await publisher(t)),
  ] as const
  const pods = [await router.add(engines[0]), await router.add(engines[1])] as const
  await Promise.all(engines.map(({ publisher }) => publisher.subscribed()))
  for (const engine of engines) engine.store(0, 0, 4)
  await router.agrees(t, pods[0], engines[0], 1)
  await router.agrees(t, pods[1], engines[1], 1)

  threads[0]?.postMessage(DIE)
  // Of the time between, this thread may see nothing where the machine is busy.
  await until(() => engines.every(({ publisher }) => publisher.subscriptions === 2), 'subscribed again')
  for (const engine of engines) engine.storeUnheard(1, 0, 4)
  for (const engine of engines) engine.store(2, 0, 4)
  await router.agrees(t, pods[0], engines[0], 3)
  await router.reaches(pods[1], 2)
  t.is(router.status(pods[1]).mode, 'stale')
  t.is(router.depth(pods[1], 0), 4, 'what was known is still good for a guess')
  t.is(threads.length, 2)
  t.is(router.log.filter(line => line.includes('the thread of KV events died')).length, 1)
})

test('a thread that cannot live is tried again ever later', async t => {
  const births: number[] = []
  const spawn = (): Worker => {
    births.push(performance.now())
    return new Worker('throw new Error("no such luck")', { eval: true })
  }
  const router = new TestRouter(t, { spawn })
  await router.add(new Engine(await publisher(t)))
  await until(() => births.length === 4, 'tried four times')
  const pauses = births.slice(1).map((birth, i) => birth - (births[i] ?? 0))
  // 100, 200 and 400 ms at least; a busy machine takes longer.
  pauses.forEach((pause, i) => {
    t.true(pause > 95 * 2 ** i, `${pauses.join(' ')} ms`)
  })
  t.regex(router.log.join(''), /no such luck/)
})

test('a pod that goes and comes while the thread is away is followed by the next', async t => {
  const threads: Worker[] = []
  const router = new TestRouter(t, { spawn: keeping(threads) })
  const engines = [new Engine(await publisher(t)), new Engine(await publisher(t))] as const
  const gone = await router.add(engines[0])
  await engines[0].publisher.subscribed()
  threads[0]?.postMessage(DIE)
  await router.registry.remove(gone.id)
  const pod = await router.add(engines[1], { id: 'late' })
  await engines[1].publisher.subscribed()
  engines[1].store(0, 0, 4)
  await router.agrees(t, pod, engines[1], 1)
  await engines[0].publisher.unsubscribed()
})

test('told to stop, it is gone, in the middle of a flood too', async t => {
  const threads: Worker[] = []
  const router = new TestRouter(t, { spawn: keeping(threads) })
  const engine = new Engine(await publisher(t, { replay: 'topic' }))
  await router.add(engine)
  await engine.publisher.subscribed()
  for (let index = 0; index < 2000; index++) engine.store(index, 0, 4)
  const exited = new Promise(resolve => threads[0]?.once('exit', resolve))
  await router.events.stop()
  t.is(await exited, 0)
})
