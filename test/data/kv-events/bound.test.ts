/** Engines that dial in: their topics tell them apart. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test, { type ExecutionContext } from 'ava'
import { THREAD_COUNTS } from '#phyllo/data/kv-events/source.js'
import { freePort, hasIpv6 } from '../../free-port.js'
import type { FakeFeed } from './fake-feed.js'
import { type LossyOptions, LossyPublisher } from './lossy-publisher.js'
import { Receiving, refOf, sourceAt } from './receiver-kit.js'
import { until } from './until.js'

setFlagsFromString('--expose-gc')
const collect: unknown = runInNewContext('gc')

/** Of what is still in use. */
function heapUsed(): number {
  if (typeof collect !== 'function') throw new Error('no gc')
  collect()
  return process.memoryUsage().heapUsed
}

const cleared = { type: 'AllBlocksCleared' } as const

const address = async (): Promise<string> => `tcp://127.0.0.1:${await freePort()}`

async function dial(t: ExecutionContext, endpoint: string, topic: string, more: LossyOptions = {}) {
  const engine = await LossyPublisher.open({ endpoint, dial: true, topic, ...more })
  t.teardown(() => engine.close())
  return engine.subscribed()
}

const applied = (feed: () => FakeFeed | undefined, count: number) =>
  until(
    () => feed()?.applied.length === count,
    () => `${feed()?.applied.length} of ${count} messages`,
  )

test('an address, an id: either names the pod; the model may have an @ in its name', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const attach = (slot: number, id: string, host: string) =>
    receiving.receiver.receive({
      type: 'attach',
      source: sourceAt(undefined, { ref: refOf(slot), id, address: host }),
    })
  attach(0, 'alpha', '10.0.0.1:8000')
  attach(1, 'beta', '10.0.0.2:8000')
  const first = await dial(t, endpoint, 'kv@10.0.0.1:8000@meta/llama@2026')
  const second = await dial(t, endpoint, 'kv@beta@m')
  for (let i = 0; i < 100; i++) {
    first.publish(cleared)
    second.publish(cleared)
  }
  await applied(() => receiving.feeds.get('alpha'), 100)
  await applied(() => receiving.feeds.get('beta'), 100)
  t.deepEqual(receiving.feed('alpha').calls, ['connected'])
  t.is(receiving.count(THREAD_COUNTS.unknownTopics), 0)
})

test('several addresses are listened on', async t => {
  const bind = [await address(), await address()]
  const receiving = new Receiving(t, { bind })
  for (const [slot, endpoint] of bind.entries()) {
    const id = `pod-${slot}`
    receiving.receiver.receive({ type: 'attach', source: sourceAt(undefined, { ref: refOf(slot), id }) })
    ;(await dial(t, endpoint, `kv@${id}@m`)).publish(cleared)
    await applied(() => receiving.feeds.get(id), 1)
  }
  t.is(receiving.feeds.size, 2)
})

test('strangers are counted and said once, until they are known', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const engine = await dial(t, endpoint, 'kv@alpha@m', { replay: 'topic' })
  for (let i = 0; i < 10; i++) engine.publish(cleared)
  await until(() => receiving.count(THREAD_COUNTS.unknownTopics) === 10, 'counted')
  t.is(receiving.said.length, 1)
  t.regex(receiving.said[0]?.text ?? '', /"kv@alpha@m"/)
  const source = sourceAt(undefined, { id: 'alpha', replay: engine.replayEndpoint })
  receiving.receiver.receive({ type: 'attach', source })
  engine.publish(cleared)
  await applied(() => receiving.feeds.get('alpha'), 11)
  t.is(receiving.count(THREAD_COUNTS.unknownTopics), 10)
})

test('a stranger with ever new topics fills neither memory nor log', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const engine = await dial(t, endpoint, '')
  for (let i = 0; i < 3000; i++) engine.raw([Buffer.from(`kv@${i}@m`), Buffer.alloc(8), Buffer.alloc(0)])
  await until(() => receiving.count(THREAD_COUNTS.unknownTopics) === 3000, 'counted')
  t.is(receiving.said.length, 64)
})

test("ranks that share a topic are told apart by their batches' rank", async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const engines = await Promise.all([0, 1, 2].map(rank => dial(t, endpoint, 'kv@10.0.0.1:8000@m', { rank })))
  for (const rank of [0, 1]) {
    const source = sourceAt(undefined, { ref: refOf(rank), id: `pod-dp${rank}`, name: 'pod', rank })
    receiving.receiver.receive({ type: 'attach', source })
  }
  const sent = engines.map(engine => Array.from({ length: 50 }, () => engine.publish(cleared).payload))
  await applied(() => receiving.feeds.get('pod-dp0'), 50)
  await applied(() => receiving.feeds.get('pod-dp1'), 50)
  t.deepEqual(receiving.feed('pod-dp0').payloads, sent[0])
  t.deepEqual(receiving.feed('pod-dp1').payloads, sent[1])
  await until(
    () => receiving.count(THREAD_COUNTS.unknownTopics) === 50,
    'a rank that nobody knows is a stranger',
  )
})

test('a pod that goes is heard no more, and may come back', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const source = sourceAt(undefined, { id: 'alpha' })
  receiving.receiver.receive({ type: 'attach', source })
  const engine = await dial(t, endpoint, 'kv@alpha@m')
  engine.publish(cleared)
  await applied(() => receiving.feeds.get('alpha'), 1)
  const before = receiving.feed('alpha')
  receiving.receiver.receive({ type: 'detach', ref: source.ref })
  t.true(before.closed)
  engine.publish(cleared)
  await until(() => receiving.count(THREAD_COUNTS.unknownTopics) === 1, 'a stranger now')
  receiving.receiver.receive({ type: 'attach', source: { ...source, firstSequence: 2 } })
  engine.publish(cleared)
  await until(() => receiving.feed('alpha') !== before, 'a feed of its own')
  await applied(() => receiving.feeds.get('alpha'), 1)
  t.is(before.applied.length, 1)
})

test('an address that is taken is said', async t => {
  const endpoint = await address()
  new Receiving(t, { bind: [endpoint] })
  await dial(t, endpoint, 'kv@alpha@m')
  const late = new Receiving(t, { bind: [endpoint] })
  await until(() => late.said.length > 0, 'said')
  t.like(late.said, [{ level: 'warn', pod: undefined }])
  t.regex(late.said[0]?.text ?? '', /is not listened on: .*[Aa]ddress (already )?in use/)
})

test('a pod that was out of service is asked whether it is the same engine, if anything came of it', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  const source = sourceAt(undefined, { id: 'alpha' })
  const { ref } = source
  receiving.receiver.receive({ type: 'attach', source })
  receiving.receiver.receive({ type: 'verify', ref })
  t.is(receiving.feeds.size, 0)
  const engine = await dial(t, endpoint, 'kv@alpha@m')
  engine.publish(cleared)
  await applied(() => receiving.feeds.get('alpha'), 1)
  receiving.receiver.receive({ type: 'verify', ref })
  t.deepEqual(receiving.feed('alpha').calls, ['connected', 'disconnected', 'connected'])
})

test('a known pod with ever new topics is heard under all of them, and fills no memory', async t => {
  const endpoint = await address()
  const receiving = new Receiving(t, { bind: [endpoint] })
  receiving.receiver.receive({ type: 'attach', source: sourceAt(undefined, { id: 'alpha' }) })
  const engine = await dial(t, endpoint, '')
  const rest = 'm'.repeat(1 << 19)
  const topics = 200
  const before = heapUsed()
  for (let i = 0; i < topics; i++) {
    const number = Buffer.alloc(8)
    number.writeBigUInt64BE(BigInt(i))
    engine.raw([Buffer.from(`kv@alpha@${i}${rest}`), number, Buffer.alloc(1)])
    await engine.sent()
  }
  await applied(() => receiving.feeds.get('alpha'), topics)
  t.is(receiving.count(THREAD_COUNTS.unknownTopics), 0)
  const grown = heapUsed() - before
  t.true(grown < (topics * rest.length) / 4, `${grown} bytes more`)
})

test('engines dial in over IPv6 and IPv4 where the address is an IPv6 one', async t => {
  if (!(await hasIpv6())) return t.log('NOT RUN, as this machine has no IPv6') ?? t.pass()
  const port = await freePort()
  const receiving = new Receiving(t, { bind: [`tcp://[::]:${port}`] })
  for (const [slot, host] of ['[::1]', '127.0.0.1'].entries()) {
    const id = `pod-${slot}`
    const source = sourceAt(undefined, { ref: refOf(slot), id, address: `${host}:8000` })
    receiving.receiver.receive({ type: 'attach', source })
    const engine = await dial(t, `tcp://${host}:${port}`, `kv@${host}:8000@m`)
    engine.publish(cleared)
    await applied(() => receiving.feeds.get(id), 1)
  }
  t.is(receiving.feeds.size, 2)
})
