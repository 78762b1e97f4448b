/** From socket to feed: order, batches, replays, connections. */
import test, { type ExecutionContext } from 'ava'
import type { EventSource } from '#phyllo/data/kv-events/source.js'
import { THREAD_COUNTS } from '#phyllo/data/kv-events/source.js'
import { hasIpv6 } from '../../free-port.js'
import type { FakeFeed } from './fake-feed.js'
import { type LossyOptions, LossyPublisher, type Message } from './lossy-publisher.js'
import { LIMITS, Receiving, refOf, sourceAt, TIMES } from './receiver-kit.js'
import { until } from './until.js'

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

async function publisher(t: ExecutionContext, options: LossyOptions = {}): Promise<LossyPublisher> {
  const opened = await LossyPublisher.open(options)
  t.teardown(() => opened.close())
  return opened
}

function sourceOf(engine: LossyPublisher, more: Partial<EventSource> = {}): EventSource {
  return sourceAt(engine.endpoint, { replay: engine.replayEndpoint, ...more })
}

const applied = (feed: FakeFeed, upTo: number) =>
  until(
    () => feed.applied.at(-1) === upTo,
    () => `applied up to ${feed.applied.at(-1)} of ${upTo}, wants ${feed.wants()}, ${feed.calls.join()}`,
  )

const cleared = { type: 'AllBlocksCleared' } as const

test('messages come to the feed in order and undecoded, in batches', async t => {
  const engine = await publisher(t)
  const feed = new Receiving(t).follow(sourceOf(engine))
  await engine.subscribed()
  const sent = numbers(0, 2000).map(() => engine.publish(cleared))
  await applied(feed, 1999)
  t.deepEqual(feed.applied, numbers(0, 2000))
  t.deepEqual(
    feed.payloads,
    sent.map(({ payload }) => payload),
  )
  t.true(feed.batches.length < 1500, `${feed.batches.length} calls`)
  t.true(Math.max(...feed.batches) <= 256)
  t.deepEqual(feed.calls, ['connected'])
})

test('only messages of the topic are subscribed to', async t => {
  const engine = await publisher(t, { topic: 'kv@a' })
  const feed = new Receiving(t).follow(sourceOf(engine, { topic: 'kv@' }))
  await engine.subscribed()
  const { sequence, payload } = engine.lose(cleared)
  engine.raw([Buffer.from('metrics'), sequence, Buffer.from('x')])
  engine.raw([Buffer.from('kv@a'), sequence, payload])
  await applied(feed, 0)
  t.deepEqual(feed.payloads, [payload])
})

for (const replay of ['topic', 'bare'] as const) {
  test(`a gap is replayed (${replay})`, async t => {
    const engine = await publisher(t, { replay })
    const feed = new Receiving(t).follow(sourceOf(engine))
    await engine.subscribed()
    await until(() => feed.calls.includes('replayDone'), 'the first look at what there is')
    for (let i = 0; i < 10; i++) engine.publish(cleared)
    engine.lose(cleared)
    engine.lose(cleared)
    for (let i = 0; i < 10; i++) engine.publish(cleared)
    await applied(feed, 21)
    t.deepEqual(feed.applied, numbers(0, 22))
    t.deepEqual(engine.asked, [0, 10])
    t.deepEqual(feed.lost, [])
  })

  test(`who joins late is told what was before (${replay})`, async t => {
    const engine = await publisher(t, { replay })
    for (let i = 0; i < 500; i++) engine.lose(cleared)
    const feed = new Receiving(t).follow(sourceOf(engine))
    await engine.subscribed()
    engine.publish(cleared)
    await applied(feed, 500)
    t.deepEqual(feed.applied, numbers(0, 501))
  })
}

test('a replay that loses every third batch is asked for again from the first hole, until it is whole', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  for (let i = 0; i < 20; i++) engine.lose(cleared)
  // As a ROUTER that is full: the answer has holes, and the holes are where they happen to be.
  engine.replaying = kept => kept.filter((_, i) => i % 3 !== 2)
  const feed = new Receiving(t).follow(sourceOf(engine))
  await applied(feed, 19)
  t.deepEqual(feed.applied, numbers(0, 20))
  t.deepEqual(feed.lost, [])
  t.deepEqual(
    engine.asked,
    numbers(0, 10).map(i => 2 * i),
  )
  t.deepEqual(feed.calls, ['connected', 'replayDone'])
})

test('what an engine has forgotten is not asked for twice', async t => {
  const engine = await publisher(t, { replay: 'topic', buffer: 5 })
  for (let i = 0; i < 20; i++) engine.lose(cleared)
  const feed = new Receiving(t).follow(sourceOf(engine))
  await applied(feed, 19)
  t.deepEqual(feed.applied, numbers(15, 20))
  t.deepEqual(engine.asked, [0])
})

test('a replay whose end is lost ends in silence, and what it brought counts', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  for (let i = 0; i < 5; i++) engine.lose(cleared)
  engine.endsReplays = false
  const limits = { ...LIMITS, silenceMs: 1000 }
  const feed = new Receiving(t, { limits }).follow(sourceOf(engine))
  await until(() => feed.calls.length === 2, 'the replay ended')
  t.deepEqual(feed.calls, ['connected', 'replayDone'])
  t.deepEqual(feed.applied, numbers(0, 5))
})

test('a replay that brings nothing, not even an end, has failed', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  engine.endsReplays = false
  const limits = { ...LIMITS, silenceMs: 1000 }
  const feed = new Receiving(t, { limits }).follow(sourceOf(engine))
  await until(() => feed.calls.length === 2, 'the replay ended')
  t.deepEqual(feed.calls, ['connected', 'replayFailed'])
})

test('a replay where nobody listens has failed', async t => {
  const engine = await publisher(t)
  const gone = await publisher(t, { replay: 'topic' })
  const replay = gone.replayEndpoint
  await gone.close()
  const limits = { ...LIMITS, connectMs: 50 }
  const feed = new Receiving(t, { limits }).follow(sourceOf(engine, { replay }))
  await until(() => feed.calls.length === 2, 'the replay ended')
  t.deepEqual(feed.calls, ['connected', 'replayFailed'])
})

test('a replay that never ends is heard for so long only', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  engine.replaying = function* endless(): Generator<Message> {
    for (;;) yield engine.lose(cleared)
  }
  const limits = { ...LIMITS, wholeMs: 2000 }
  const feed = new Receiving(t, { limits }).follow(sourceOf(engine))
  await until(() => feed.calls.length >= 2, 'the replay ended')
  t.deepEqual(feed.calls.slice(0, 2), ['connected', 'replayDone'])
})

test('without a replay a gap is given up after a while, not before', async t => {
  const engine = await publisher(t)
  const times = { ...TIMES, withoutReplayMs: 1000 }
  const feed = new Receiving(t, { times }).follow(sourceOf(engine))
  await engine.subscribed()
  engine.publish(cleared)
  const late = engine.lose(cleared)
  engine.publish(cleared)
  engine.send(late)
  await applied(feed, 2)
  t.deepEqual(feed.applied, [0, 1, 2], 'it was only late')
  engine.lose(cleared)
  engine.publish(cleared)
  await applied(feed, 4)
  t.deepEqual(feed.lost, [3])
  t.deepEqual(feed.calls, ['connected', 'replayFailed'])
})

test('an overtaken message costs no replay', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  const times = { ...TIMES, beforeReplayMs: 10_000 }
  const feed = new Receiving(t, { times }).follow(sourceOf(engine))
  await engine.subscribed()
  await until(() => feed.calls.includes('replayDone'), 'the first look at what there is')
  for (let i = 0; i < 50; i++) {
    const overtaken = engine.lose(cleared)
    engine.publish(cleared)
    engine.send(overtaken)
  }
  await applied(feed, 99)
  t.deepEqual(engine.asked, [0])
})

test('messages of another form are counted and said once; the rest goes on', async t => {
  const engine = await publisher(t)
  const receiving = new Receiving(t)
  const feed = receiving.follow(sourceOf(engine))
  await engine.subscribed()
  for (let i = 0; i < 10; i++) {
    engine.raw([Buffer.from('')])
    engine.raw([Buffer.from(''), Buffer.from('a'), Buffer.from('b'), Buffer.from('c')])
  }
  engine.publish(cleared)
  await applied(feed, 0)
  t.is(receiving.count(THREAD_COUNTS.badFrames), 20)
  t.is(receiving.said.length, 1)
  t.like(receiving.said[0], { level: 'warn', pod: 'pod' })
})

test('a message over the cap ends the connection, which comes back; what was lost is replayed', async t => {
  const engine = await publisher(t, { replay: 'topic' })
  const limits = { ...LIMITS, maxMessageBytes: 10_000 }
  const feed = new Receiving(t, { limits }).follow(sourceOf(engine))
  await engine.subscribed()
  engine.publish(cleared)
  engine.raw([Buffer.from(''), Buffer.alloc(8), Buffer.alloc(20_000)])
  await until(() => feed.calls.filter(call => call === 'connected').length === 2, 'connected again')
  t.true(feed.calls.includes('disconnected'))
  await until(() => engine.subscriptions === 2, 'subscribed again')
  engine.lose(cleared)
  engine.publish(cleared)
  await applied(feed, 2)
  t.deepEqual(feed.applied, [0, 1, 2])
})

test('an engine that starts anew is connected to again', async t => {
  const engine = await publisher(t)
  const feed = new Receiving(t).follow(sourceOf(engine))
  await engine.subscribed()
  engine.publish(cleared)
  await applied(feed, 0)
  const next = await engine.restarted({ first: 1 })
  t.teardown(() => next.close())
  await next.subscribed()
  next.publish(cleared)
  await applied(feed, 1)
  t.deepEqual(feed.calls, ['connected', 'disconnected', 'connected'])
})

test('a pod that goes during its replay leaves nothing behind; another has its turn', async t => {
  const receiving = new Receiving(t)
  const stuck = await Promise.all(numbers(0, 4).map(() => publisher(t, { replay: 'topic' })))
  const feeds = stuck.map((engine, i) => {
    engine.endsReplays = false
    return receiving.follow(sourceOf(engine, { ref: refOf(i), id: `stuck-${i}` }))
  })
  await until(() => stuck.every(engine => engine.asked.length === 1), 'all four replay')
  const engine = await publisher(t, { replay: 'topic' })
  const feed = receiving.follow(sourceOf(engine, { ref: refOf(9), id: 'waiting' }))
  await until(() => feed.calls.includes('connected'), 'connected')
  await new Promise(resolve => setTimeout(resolve, 50))
  t.deepEqual(engine.asked, [], 'four at a time')
  receiving.receiver.receive({ type: 'detach', ref: refOf(0) })
  await until(() => feed.calls.includes('replayDone'), 'its turn came')
  t.true(feeds[0]?.closed)
  t.deepEqual(feeds[0]?.calls, ['connected'], 'a closed feed is told nothing more')
  await stuck[0]?.unsubscribed()
})

test('an endpoint that cannot be subscribed to is said; a good one works beside it', async t => {
  const receiving = new Receiving(t)
  const bad = receiving.follow(sourceAt('tcp://no port', { id: 'bad', ref: refOf(1) }))
  t.true(bad.closed)
  t.like(receiving.said, [{ level: 'warn', pod: 'bad' }])
  const engine = await publisher(t)
  const feed = receiving.follow(sourceOf(engine))
  await engine.subscribed()
  engine.publish(cleared)
  await applied(feed, 0)
})

test('what the feed has to say goes to the log once a kind, as a warning unless the pod is exact', async t => {
  const engine = await publisher(t)
  const receiving = new Receiving(t)
  const feed = receiving.follow(sourceOf(engine))
  await engine.subscribed()
  feed.notices.push('12 events were lost', '7 events were lost')
  engine.publish(cleared)
  await applied(feed, 0)
  receiving.exact.add(refOf(0))
  feed.notices.push('it is exact')
  engine.publish(cleared)
  await applied(feed, 1)
  t.deepEqual(
    receiving.said.map(({ level, text }) => [level, text]),
    [
      ['warn', '12 events were lost'],
      ['info', 'it is exact'],
    ],
  )
})

test('64 pods at once, each losing, repeating and reordering', async t => {
  const receiving = new Receiving(t, { times: { ...TIMES, beforeReplayMs: 20 } })
  const engines = await Promise.all(numbers(0, 64).map(() => publisher(t, { replay: 'topic' })))
  const feeds = engines.map((engine, i) =>
    receiving.follow(sourceOf(engine, { ref: refOf(i), id: `pod-${i}` })),
  )
  await Promise.all(engines.map(engine => engine.subscribed()))
  for (let round = 0; round < 100; round++) {
    engines.forEach((engine, i) => {
      const kind = (round * 31 + i * 17) % 20
      if (kind === 0) engine.lose(cleared)
      else if (kind === 1) {
        const overtaken = engine.lose(cleared)
        engine.publish(cleared)
        engine.send(overtaken)
      } else if (kind === 2) engine.send(engine.publish(cleared))
      else engine.publish(cleared)
    })
    await new Promise(resolve => setImmediate(resolve))
  }
  const last = engines.map(engine => engine.publish(cleared).number)
  await Promise.all(feeds.map((feed, i) => applied(feed, last[i] ?? 0)))
  feeds.forEach((feed, i) => {
    t.deepEqual(feed.applied, numbers(0, (last[i] ?? 0) + 1))
    t.deepEqual(feed.lost, [])
  })
})

test('engines at IPv6 addresses, for events and replays', async t => {
  if (!(await hasIpv6())) return t.log('NOT RUN, as this machine has no IPv6') ?? t.pass()
  const any = 'tcp://[::1]:*'
  const engine = await publisher(t, { endpoint: any, replayEndpoint: any, replay: 'topic' })
  engine.lose(cleared)
  const feed = new Receiving(t).follow(sourceOf(engine))
  await engine.subscribed()
  engine.publish(cleared)
  await applied(feed, 1)
  t.deepEqual(feed.applied, [0, 1])
  t.deepEqual(feed.lost, [])
})
