/** The simulated engine's events are, byte for byte, what real engines wrote on the same occasion. */
import test from 'ava'
import {
  END_OF_REPLAY,
  EventEncoder,
  type EventFormat,
  sequenceFrame,
} from '#phyllo/simulation/engine/kv-events/encoder.js'
import { decodeBatch, recorded } from './frames.js'

const engines: Readonly<Record<string, EventFormat>> = {
  'vllm-0.32.0': { form: 'map', dialect: 'vllm' },
  'vllm-0.32.0-dp2': { form: 'map', dialect: 'vllm' },
  'vllm-0.32.0-bytes': { form: 'map', dialect: 'vllm' },
  'vllm-0.22.1': { form: 'array', dialect: 'vllm' },
  'sglang-0.5.23': { form: 'map', dialect: 'sglang' },
}

for (const [engine, format] of Object.entries(engines)) {
  test(`${engine}: a recorded message, read and written again, is the same`, t => {
    const messages = recorded(engine)
    t.true(messages.length > 0)
    const encoder = new EventEncoder(format)
    for (const { name, payload, sequence } of messages) {
      const batch = decodeBatch(payload)
      t.is(encoder.encode(batch).toString('hex'), payload.toString('hex'), name)
      t.is(sequenceFrame(sequence).readBigUInt64BE(), sequence)
    }
  })
}

test('the recordings hold every kind of event, both hash forms, ranks, salts and parents', t => {
  const events = Object.keys(engines).flatMap(engine =>
    recorded(engine).flatMap(({ payload }) => decodeBatch(payload).events),
  )
  const stored = events.filter(event => event.type === 'BlockStored')
  t.true(events.some(event => event.type === 'AllBlocksCleared'))
  t.true(events.some(event => event.type === 'BlockRemoved'))
  t.true(stored.some(({ blockHashes }) => typeof blockHashes[0] !== 'bigint'))
  t.true(stored.some(({ blockHashes }) => typeof blockHashes[0] === 'bigint' && blockHashes[0] < 0n))
  t.true(stored.some(({ cacheSalt }) => cacheSalt === 'tenant-1'))
  t.true(stored.some(({ extraKeys }) => extraKeys?.[0]?.[0] === 'tenant-1' && extraKeys[1] === null))
  t.true(stored.some(({ parentBlockHash }) => parentBlockHash !== null))
  const ranks = recorded('vllm-0.32.0-dp2').map(({ payload }) => decodeBatch(payload).rank)
  t.deepEqual(ranks, [0, 1])
})

test('a whole second, a small hash and no rank are written as engines write them', t => {
  const encoder = new EventEncoder({ form: 'map', dialect: 'sglang' })
  const removed = { type: 'BlockRemoved', blockHashes: [5n, -1n, 2n ** 64n - 2n], medium: null } as const
  const payload = encoder.encode({ time: 2, events: [removed], rank: null })
  t.is(payload.subarray(0, 10).toString('hex'), '93cb4000000000000000')
  t.true(payload.toString('hex').endsWith('9305fffec0'))
  t.is(sequenceFrame(END_OF_REPLAY).toString('hex'), 'ff'.repeat(8))
})
