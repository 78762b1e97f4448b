/** The publisher against plain ZeroMQ sockets, as a subscriber and as one who asks for a replay. */
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { Dealer, Subscriber } from 'zeromq'
import type { KvEvent } from '#phyllo/simulation/engine/kv-events/encoder.js'
import {
  isBindEndpoint,
  KvPublisher,
  offsetEndpoint,
  type PublisherOptions,
} from '#phyllo/simulation/engine/kv-events/publisher.js'
import { FaultyWire } from '#phyllo/simulation/engine/kv-events/wire-faults.js'
import { decodeBatch } from './frames.js'

const ANY = 'tcp://127.0.0.1:*'
const END = 'ff'.repeat(8)

async function open(t: ExecutionContext, options: Partial<PublisherOptions> = {}): Promise<KvPublisher> {
  const publisher = await KvPublisher.open({
    endpoint: ANY,
    replay: ANY,
    topic: 'kv@me@tiny@chat',
    rank: 0,
    format: { form: 'map', dialect: 'vllm' },
    ...options,
  })
  t.teardown(() => publisher.close())
  return publisher
}

const removed = (hash: bigint): KvEvent => ({
  type: 'BlockRemoved',
  blockHashes: [hash],
  medium: 'GPU',
  groupIndex: 0,
})

/** Subscribes, and waits until the subscription has reached the publisher. */
async function subscribe(t: ExecutionContext, publisher: KvPublisher): Promise<Subscriber> {
  const socket = new Subscriber({ linger: 0 })
  t.teardown(() => socket.close())
  socket.connect(publisher.endpoint)
  socket.subscribe('')
  // A PUB socket drops what it sends before it has heard of a subscriber, and tells nobody when it has.
  for (;;) {
    publisher.publish([removed(0n)])
    socket.receiveTimeout = 20
    const message = await socket.receive().catch(() => null)
    if (message !== null) break
  }
  socket.receiveTimeout = 5000
  return socket
}

/** All that a replay brings, frames as hex but for the payloads, which are given by their first event's hash. */
async function replayed(t: ExecutionContext, publisher: KvPublisher, from: Buffer): Promise<Buffer[][]> {
  const socket = new Dealer({ linger: 0, receiveTimeout: 5000 })
  t.teardown(() => socket.close())
  socket.connect(publisher.replayEndpoint ?? '')
  await socket.send(['', from])
  const messages: Buffer[][] = []
  for (;;) {
    const frames = await socket.receive()
    messages.push(frames)
    if (frames.some(frame => frame.toString('hex') === END)) return messages
  }
}

const u64 = (value: number): Buffer => {
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64BE(BigInt(value))
  return frame
}

const hashOf = (payload: Buffer | undefined): unknown => {
  const [event] = decodeBatch(payload ?? Buffer.alloc(0)).events
  return event?.type === 'BlockRemoved' ? event.blockHashes[0] : event
}

test('a subscriber gets topic, sequence number and payload, in order', async t => {
  const publisher = await open(t)
  const socket = await subscribe(t, publisher)
  const before = publisher.published
  for (let i = 1; i <= 500; i++) publisher.publish([removed(BigInt(i))])
  for (let i = 1; i <= 500; ) {
    const [topic, sequence, payload, ...more] = await socket.receive()
    const number = Number(sequence?.readBigUInt64BE() ?? -1n)
    if (number < before) continue
    t.is(number, before + i - 1)
    t.is(topic?.toString(), 'kv@me@tiny@chat')
    t.is(more.length, 0)
    t.is(hashOf(payload), BigInt(i++))
  }
})

test('a replay gives the batches from the wanted one on, with the topic, and then its end', async t => {
  const publisher = await open(t)
  for (let i = 0; i < 20; i++) publisher.publish([removed(BigInt(i))])
  const messages = await replayed(t, publisher, u64(15))
  t.is(messages.length, 6)
  for (const [at, frames] of messages.slice(0, 5).entries()) {
    t.deepEqual(frames.slice(0, 2).map(String), ['', 'kv@me@tiny@chat'])
    t.is(frames[2]?.readBigUInt64BE(), BigInt(15 + at))
    t.is(hashOf(frames[3]), BigInt(15 + at))
  }
  t.deepEqual(
    messages[5]?.map(frame => frame.toString('hex')),
    ['', '', END, ''],
  )
})

test('the replay of older versions has no topic', async t => {
  const publisher = await open(t, { replayForm: 'bare', firstSequence: 1 })
  publisher.publish([removed(7n)])
  const messages = await replayed(t, publisher, u64(0))
  t.deepEqual(
    messages.map(frames => [frames.length, frames[1]?.toString('hex')]),
    [
      [3, '0000000000000001'],
      [3, END],
    ],
  )
  t.is(hashOf(messages[0]?.[2]), 7n)
})

test('what has left the buffer is not replayed', async t => {
  const publisher = await open(t, { buffer: 4 })
  for (let i = 0; i < 10; i++) publisher.publish([removed(BigInt(i))])
  const messages = await replayed(t, publisher, u64(2))
  t.deepEqual(
    messages.slice(0, -1).map(frames => Number(frames[2]?.readBigUInt64BE())),
    [6, 7, 8, 9],
  )
})

test('a request that is none is passed over, and the next one is answered', async t => {
  const publisher = await open(t)
  publisher.publish([removed(1n)])
  const socket = new Dealer({ linger: 0 })
  t.teardown(() => socket.close())
  socket.connect(publisher.replayEndpoint ?? '')
  await socket.send(['', Buffer.alloc(3)])
  await socket.send([''])
  await socket.send(['', u64(0), 'more'])
  t.is((await replayed(t, publisher, u64(0))).length, 2)
})

test('a publisher with the address of one place dials out to it', async t => {
  const socket = new Subscriber({ linger: 0, receiveTimeout: 5000 })
  t.teardown(() => socket.close())
  await socket.bind(ANY)
  socket.subscribe('')
  const publisher = await open(t, { endpoint: socket.lastEndpoint ?? '', replay: undefined })
  t.is(publisher.replayEndpoint, null)
  const sending = setInterval(() => publisher.publish([removed(9n)]), 5)
  const [, , payload] = await socket.receive()
  clearInterval(sending)
  t.is(hashOf(payload), 9n)
})

test('closing frees the ports for the engine that comes after', async t => {
  // Others on this machine take free ports, too, now and then one that was free a moment ago.
  for (let tries = 5; tries > 0; tries--) {
    const first = await open(t)
    const { endpoint, replayEndpoint } = first
    await first.close()
    const second = await open(t, {
      endpoint: endpoint.replace('127.0.0.1', '*'),
      replay: replayEndpoint ?? undefined,
    }).catch(() => null)
    if (second === null) continue
    t.is(second.endpoint.split(':')[2], endpoint.split(':')[2])
    return
  }
  t.fail('the ports were taken five times in a row')
})

test('an address that is taken is told', async t => {
  const first = await open(t)
  await t.throwsAsync(open(t, { replay: first.replayEndpoint ?? undefined }), { code: 'EADDRINUSE' })
})

test('where vLLM binds, and which port a rank has', t => {
  for (const bound of [
    'tcp://*:5557',
    'tcp://[::]:5557',
    'ipc:///tmp/x',
    'inproc://x',
    'tcp://127.0.0.1:*',
  ]) {
    t.true(isBindEndpoint(bound), bound)
  }
  for (const dialled of ['tcp://router:5557', 'tcp://10.0.0.1:5557'])
    t.false(isBindEndpoint(dialled), dialled)
  t.is(offsetEndpoint('tcp://*:5557', 3), 'tcp://*:5560')
  t.is(offsetEndpoint('tcp://*:0', 3), 'tcp://*:0')
  t.is(offsetEndpoint('tcp://127.0.0.1:*', 3), 'tcp://127.0.0.1:*')
  t.is(offsetEndpoint('inproc://cache', 2), 'inproc://cache_dp2')
})

test('a faulty wire loses, delays and doubles about as many as it should, the same for the same seed', t => {
  const run = (seed: number): { got: number[]; lost: number } => {
    const got: number[] = []
    const wire = new FaultyWire<number>({ loss: 0.1, reorder: 0.1, duplicates: 0.1, seed }, m => got.push(m))
    for (let i = 0; i < 10_000; i++) wire.send(i)
    wire.flush()
    return { got, lost: wire.lost }
  }
  const { got, lost } = run(3)
  t.deepEqual(run(3), { got, lost })
  t.notDeepEqual(run(4).got, got)
  const late = got.filter((message, at) => at > 0 && message < (got[at - 1] ?? 0)).length
  const twice = got.length - new Set(got).size
  t.is(new Set(got).size, 10_000 - lost)
  for (const [name, count] of Object.entries({ lost, late, twice })) {
    t.true(count > 700 && count < 1300, `${name}: ${count}`)
  }
})

test('whatever the wire does, what it has not lost arrives', t => {
  const part = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(part, part, part, fc.nat(), (loss, reorder, duplicates, seed) => {
      const got: number[] = []
      const wire = new FaultyWire<number>({ loss, reorder, duplicates, seed }, message => got.push(message))
      for (let i = 0; i < 100; i++) wire.send(i)
      wire.flush()
      return new Set(got).size === 100 - wire.lost
    }),
  )
  t.pass()
})
