/** A line of the decision log: what is in it, what is not, and keys that stand for others. */
import test from 'ava'
import fc from 'fast-check'
import { hashText } from '#phyllo/decision/hash.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { decisionRecord } from '#phyllo/decision/record/schema.js'
import { SurrogateKeys } from '#phyllo/decision/record/surrogate-key.js'
import { FakeFleet } from '../fake-addon.js'
import { seeded, single, TestWorker } from '../helpers.js'
import { decideAndLog, shake, someFleet } from './kit.js'

test('no line holds a key, a header or a prompt', t => {
  for (const profile of shippedProfiles(single())) {
    const random = seeded(4)
    const fleet = new FakeFleet(64)
    const worker = new TestWorker(fleet, someFleet(5, random))
    const compiled = worker.compile(profile)
    let sessions = 0
    for (let i = 0; i < 30; i++) {
      shake(fleet, 5, random)
      const { line, record } = decideAndLog(worker, compiled, random)
      t.notRegex(line, /example\.com|secret|x-session-id/)
      if (record.keys.session !== null) sessions++
    }
    t.true(sessions > 10, 'there were keys to leave out')
  }
})

test('a request’s keys are their hashes, by defaults where the profile makes none', t => {
  const find = (name: string) => shippedProfiles(single()).find(profile => profile.name === name)
  const [least, sticky] = [find('least-request'), find('session-sticky')]
  if (least === undefined || sticky === undefined) throw new Error('unreachable')
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    someFleet(3, () => 0.9),
  )
  // The first draw makes a session, the second its number: user-0.
  const draws = [0, 0, 0]
  const first = decideAndLog(worker, worker.compile(least), () => draws.shift() ?? 0)
  const hash = hashText('user-0@example.com')
  t.deepEqual(first.record.keys.session, { hash, own: false })
  t.deepEqual(first.record.keys.affinity, { hash, own: false })
  const second = decideAndLog(worker, worker.compile(sticky), () => 0)
  t.deepEqual(second.record.keys.session, { hash, own: true, pod: null })
  const third = decideAndLog(worker, worker.compile(sticky), () => 0)
  t.is(third.record.keys.session?.pod, second.record.decision.ranking[0] ?? '')
})

test('what pods hold is in the line even of a profile that does not ask', t => {
  const least = shippedProfiles(single()).find(({ name }) => name === 'least-request')
  if (least === undefined) throw new Error('unreachable')
  const fleet = new FakeFleet(64)
  fleet.cached = new Map([[1, 320]])
  const worker = new TestWorker(
    fleet,
    someFleet(3, () => 0.9),
  )
  const { record } = decideAndLog(worker, worker.compile(least), () => 0.99)
  t.deepEqual(record.pods.cached, [0, 320, 0])
  t.is(record.prompt.tokens, 1000)
  t.is(worker.tickets, 0, 'its ticket is given back')
})

test('columns of usual values are left out', t => {
  const least = shippedProfiles(single()).find(({ name }) => name === 'least-request')
  if (least === undefined) throw new Error('unreachable')
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    someFleet(3, () => 0.9),
  )
  fleet.set('inflight', 2, 4)
  const { record } = decideAndLog(worker, worker.compile(least), () => 0.99)
  t.deepEqual(record.pods.load, { inflight: [0, 0, 4], requests: [0, 0, 4] })
  t.is(record.pods.labels, undefined)
})

test('columns of other lengths and slots out of order are no record', t => {
  const least = shippedProfiles(single()).find(({ name }) => name === 'least-request')
  if (least === undefined) throw new Error('unreachable')
  const worker = new TestWorker(
    new FakeFleet(64),
    someFleet(3, () => 0.9),
  )
  const { record } = decideAndLog(worker, worker.compile(least), () => 0.99)
  const { pods } = record
  t.true(decisionRecord.safeParse(record).success)
  const later = { ...pods, load: { ...pods.load, queueAge: [1, 2, 3] } }
  t.deepEqual(
    decisionRecord.parse({ ...record, pods: later }),
    record,
    'a column of a later writer cost the whole line',
  )
  t.false(decisionRecord.safeParse({ ...record, pods: { ...pods, cached: [1] } }).success)
  t.false(decisionRecord.safeParse({ ...record, pods: { ...pods, load: { inflight: [1] } } }).success)
  t.false(decisionRecord.safeParse({ ...record, pods: { ...pods, slot: [2, 1, 0] } }).success)
  t.false(decisionRecord.safeParse({ ...record, v: 2 }).success)
})

test('a text is found for every hash, always the same', t => {
  const keys = new SurrogateKeys()
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), hash => {
      const text = keys.of(hash)
      t.is(hashText(text), hash)
      t.is(keys.of(hash), text)
    }),
    { numRuns: 300, examples: [[0], [0xffffffff], [0x811c9dc5]] },
  )
})
