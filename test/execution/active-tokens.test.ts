/**
 * What requests hold in a pod's KV cache: counted over all workers, by the native state itself, whatever becomes of them.
 */
import test from 'ava'
import fc from 'fast-check'
import { LaneView } from '#phyllo/data/lane-view.js'
import {
  BODY_KINDS,
  BOOKED,
  BOOKED_WORDS,
  FIELDS,
  isPodRef,
  isTicket,
  loadNative,
  OPS,
} from '#phyllo/data/native.js'
import { Lease } from '#phyllo/execution/lease.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import {
  answerWith,
  assertClean,
  chunked,
  lastChunk,
  podAt,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const PODS = 3
/** Each thread has a lane of its own. */
const LANES = 2

/** What is done to the leases; one is meant by its place among the open ones, modulo their number. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant('book' as const), pod: fc.nat(PODS - 1), prompt: fc.nat(2) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      what: fc.constantFrom('first byte', 'tokens', 'release', 'release twice', 'retry'),
      lease: fc.nat(),
      pod: fc.nat(PODS - 1),
      count: fc.nat(60),
    }),
  },
)

test('active tokens are the sum of what open leases hold, and nothing once all have ended', t => {
  const addon = loadNative()
  const name = 'active-tokens'
  const state = addon.SharedState.open(name, STATE_OPTIONS)
  t.teardown(() => addon.SharedState.close(name))
  const pods = Array.from({ length: PODS }, (_, slot) => podAt(`http://p${slot}`, slot))
  for (const pod of pods) t.is(state.addPod(pod.id), pod.ref)
  for (const pod of pods) state.activatePod(pod.ref)
  const lanes = Array.from({ length: LANES }, () => new LaneView(addon, state))
  const model = state.addModel('m', { blockSize: 16 })
  const fields = new Uint32Array(2 * FIELDS.length)
  const out = new Uint32Array(BOOKED_WORDS)
  let turn = 0
  const nextLane = (): LaneView => lanes[turn++ % LANES] ?? t.fail()
  const book = (slot: number, prompt: number): { lease: Lease; slot: number; held: number; told: number } => {
    const lane = nextLane()
    const pod = pods[slot] ?? t.fail()
    const body = Buffer.from(JSON.stringify({ model: 'm', prompt: 'x'.repeat(prompt * 500) }))
    t.is(lane.native.scan(body, BODY_KINDS.completions, fields), 0)
    const ticket = lane.native.prepare(model, OPS.tokenize, BODY_KINDS.completions, body, fields)
    if (!isTicket(ticket) || !isPodRef(lane.native.book(ticket, pod.ref, 0, 0, out))) return t.fail()
    lane.native.drop(ticket)
    const held = out[BOOKED.activeTokens] ?? 0
    t.true(prompt === 0 || held > 100)
    const lease = new Lease(lane.native, pod, pod.ref, out[BOOKED.pendingTokens] ?? 0, held)
    return { lease, slot, held, told: 0 }
  }

  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const open: ReturnType<typeof book>[] = []
      const check = (): void => {
        const lane = nextLane()
        lane.beginSelection()
        const naive = pods.map((_, slot) =>
          open
            .filter(each => each.slot === slot)
            .reduce((sum, { held, told }) => sum + held + told - (told % 16), 0),
        )
        t.deepEqual([...lane.activeTokens.subarray(0, PODS)], naive)
      }
      for (const each of steps) {
        if (each.what === 'book') open.push(book(each.pod, each.prompt))
        else if (open.length > 0) {
          const at = each.lease % open.length
          const [it] =
            each.what === 'first byte' || each.what === 'tokens' ? open.slice(at) : open.splice(at, 1)
          if (it === undefined) return t.fail()
          if (each.what === 'first byte') it.lease.firstByte(5)
          else if (each.what === 'tokens') {
            for (let i = 0; i < each.count; i++) it.lease.token()
            it.told += each.count
          } else {
            if (each.what === 'retry') open.push(book(each.pod, 1))
            it.lease.release(2)
            if (each.what === 'release twice') it.lease.release(1)
            for (let i = 0; i < each.count; i++) it.lease.token()
          }
        }
        check()
      }
      for (const { lease } of open.splice(0)) lease.release(0)
      check()
    }),
  )
})

test('a stream counts on its pod as it comes, and no more once it has ended', async t => {
  const event = 'data: {"choices":[{"text":"x"}]}\n\n'
  let finish = (): void => t.fail()
  const pod = await startPod(t, ({ socket }) => {
    // Forty at once: what comes in one read is still told apart.
    socket.write(streamHead + chunked(event).toString().repeat(40))
    finish = () => socket.write(lastChunk)
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  const done = worker.run(sink)
  await until(t, () => sink.text.length >= 40 * event.length, 'forty events')
  t.deepEqual([...worker.lane.active.values()], [9 + 32])
  finish()
  await done
  t.deepEqual([...worker.lane.active.values()], [0])
  await assertClean(t, worker)
})

test('an answer that comes as a whole counts with its prompt alone', async t => {
  const grown: number[] = []
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, 'x'.repeat(100_000))))
  const worker = startWorker(t, [pod.origin])
  worker.lane.grow = (_ref, tokens) => void grown.push(tokens)
  await worker.run(new RecordingSink())
  t.deepEqual(grown, [])
  await assertClean(t, worker)
})
