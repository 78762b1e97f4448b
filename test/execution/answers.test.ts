/** What is read in answers while they are relayed: the engine's counts, and what predicted pods answered. */
import { gzipSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { isTicket, USAGE } from '#phyllo/data/native.js'
import { Answers, LEARNED } from '#phyllo/execution/answers.js'
import { AnswerRoom, KeptAnswer } from '#phyllo/execution/kept-answer.js'
import { LearnQueue } from '#phyllo/execution/learn-queue.js'
import { Lease } from '#phyllo/execution/lease.js'
import {
  answerWith,
  assertClean,
  CountingLane,
  chunked,
  type Given,
  lastChunk,
  type PodRequest,
  podAt,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  streamHead,
  until,
  type Worker,
} from './kit.js'

const usage = { prompt_tokens: 150, total_tokens: 158, prompt_tokens_details: { cached_tokens: 128 } }
const json = JSON.stringify({ id: 'x', choices: [{ message: { content: 'leaf "usage":{}' } }], usage })
const event = (fields: object): string => `data: ${JSON.stringify({ id: 'x', ...fields })}\n\n`
const token = (content: string): string => event({ choices: [{ delta: { content } }] })
const events = [token('a '), token('leaf'), event({ choices: [], usage }), 'data: [DONE]\n\n']
const prepared: Given = { ticket: 3 }

const sendEvents = ({ socket }: PodRequest, pieces: readonly string[] = events): void => {
  socket.write(streamHead)
  for (const piece of pieces) socket.write(chunked(piece))
  socket.write(lastChunk)
}

const refOf = (worker: Worker, slot: number): number => worker.infos[slot]?.ref ?? -1
/** All pods are predicted, and prompts have 150 tokens. */
function ready(worker: Worker): Worker {
  worker.lane.promptTokens = 150
  for (const { ref } of worker.infos) worker.lane.predicted.add(ref)
  return worker
}

for (const [name, answer, isStream] of [
  ['JSON', ({ socket }: PodRequest) => void socket.write(answerWith(200, json)), false],
  ['events', sendEvents, true],
] as const) {
  test(`${name}: counts and answer of a predicted pod, after the last byte`, async t => {
    const pod = await startPod(t, answer)
    const worker = ready(startWorker(t, [pod.origin]))
    const sink = new RecordingSink()
    const atCheck: boolean[] = []
    const { checkUsage } = worker.lane
    worker.lane.checkUsage = (...args) => {
      atCheck.push(sink.ended)
      return checkUsage.apply(worker.lane, args)
    }
    const record = await worker.run(sink, prepared)
    t.is(record.outcome, 'ok')
    t.is(sink.text, isStream ? events.join('') : json)
    t.deepEqual(atCheck, [true])
    const ref = refOf(worker, 0)
    t.deepEqual(worker.lane.usages, [{ ticket: 3, promptTokens: 150 }])
    t.like(worker.checks[0], { pod: 'pod-0', promptTokens: 150, cachedTokens: 150 - 7, mode: 'predicted' })
    t.deepEqual(worker.lane.learned, [], 'that waits for others')
    await assertClean(t, worker)
    t.deepEqual(worker.lane.learned, [{ ticket: 3, ref, events: isStream, text: sink.text }])
    t.deepEqual([worker.learned, worker.lane.dropped], [[LEARNED.whole], [3]])
  })
}

test('nothing is read where nothing was prepared, and nothing learned of exact pods', async t => {
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, json)))
  const worker = ready(startWorker(t, [pod.origin]))
  await worker.run(new RecordingSink())
  t.deepEqual([worker.lane.usages, worker.lane.learned], [[], []])
  worker.lane.predicted.clear()
  worker.lane.cacheMode = 2
  await worker.run(new RecordingSink(), prepared)
  t.like(worker.checks[0], { mode: 'exact' })
  t.deepEqual([worker.lane.learned, worker.learned], [[], []])
  await assertClean(t, worker)
})

test('a pod that runs another version counts by its own files: that tells nothing of the model’s', async t => {
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, json)))
  const worker = ready(startWorker(t, [pod.origin]))
  for (const [version, variant] of [undefined, 'm', 'm-next'].entries()) {
    worker.pods.update(
      2 + version,
      worker.infos.map(info => ({ ...info, models: ['m'], variant })),
    )
    await worker.run(new RecordingSink(), prepared)
  }
  t.deepEqual(
    worker.checks.map(({ result }) => result),
    [USAGE.agrees, USAGE.agrees, undefined],
  )
  t.is(worker.lane.usages.length, 2)
  t.deepEqual(
    worker.checks[2]?.usage,
    { promptTokens: 150, cachedTokens: 128 },
    'its cache hits count all the same',
  )
  await assertClean(t, worker)
})

test('only single answers of chat and completions are learned', async t => {
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, json)))
  const worker = ready(startWorker(t, [pod.origin]))
  const kinds: [given: Given, learned: boolean, counted: boolean][] = [
    [{ kind: 'chat' }, true, true],
    [{ kind: 'chat', body: '{"model":"m","n":1}' }, true, true],
    [{ kind: 'chat', body: '{"model":"m","n":2}' }, false, true],
    [{ kind: 'completions', body: '{"prompt":"the \\"echo\\" of"}' }, true, true],
    [{ kind: 'completions', body: '{"prompt":[ 1,2]}' }, true, true],
    [{ kind: 'completions', body: '{"prompt":["a"]}' }, false, true],
    [{ kind: 'completions', body: '{"prompt":[[1],[2]]}' }, false, true],
    [{ kind: 'completions', body: '{"prompt":[]}' }, false, true],
    [{ kind: 'completions', body: '{"prompt":"a","echo":true}' }, false, true],
    [{ kind: 'responses' }, false, true],
    [{ kind: 'embeddings' }, false, false],
    [{ kind: 'messages' }, false, false],
    [{ kind: 'other' }, false, false],
  ]
  for (const [given, learned, counted] of kinds) {
    worker.lane.learned.length = 0
    worker.lane.usages.length = 0
    await worker.run(new RecordingSink(), { ...prepared, ...given })
    await assertClean(t, worker)
    t.deepEqual(
      [worker.lane.learned.length > 0, worker.lane.usages.length > 0],
      [learned, counted],
      JSON.stringify(given),
    )
  }
  await assertClean(t, worker)
})

test('error answers and compressed ones are not looked into', async t => {
  const answers = [
    answerWith(400, json),
    answerWith(503, json),
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${gzipSync(json).length}\r\n\r\n`,
      ),
      gzipSync(json),
    ]),
    answerWith(201, json),
  ]
  const pod = await startPod(t, ({ socket }) => void socket.write(answers[pod.requests.length - 1] ?? ''))
  const worker = ready(startWorker(t, [pod.origin]))
  for (const _ of answers) await worker.run(new RecordingSink(), prepared)
  t.is(pod.requests.length, answers.length)
  t.deepEqual([worker.lane.usages, worker.lane.learned, worker.learned], [[], [], []])
  await assertClean(t, worker)
})

test('retries: only the pod that answered counts and learns', async t => {
  const bad = await startPod(t, ({ socket }) => void socket.write(answerWith(500, json)))
  // Its head is a good one, but nothing comes after it.
  const mute = await startPod(t, ({ socket }) => void socket.end(streamHead))
  const good = await startPod(t, sendEvents)
  const worker = ready(startWorker(t, [bad.origin, mute.origin, good.origin]))
  const record = await worker.run(new RecordingSink(), prepared)
  t.is(record.attempts, 3)
  const ref = refOf(worker, 2)
  t.is(worker.lane.usages.length, 1)
  await assertClean(t, worker)
  t.deepEqual(
    worker.lane.learned.map(found => [found.ref, found.text]),
    [[ref, events.join('')]],
  )
  await assertClean(t, worker)
})

test('a client that leaves: the beginning of a stream is learned, and there is nothing to count', async t => {
  const pod = await startPod(t, ({ socket }) => {
    socket.write(streamHead)
    for (const piece of events.slice(0, 2)) socket.write(chunked(piece))
  })
  const worker = ready(startWorker(t, [pod.origin]))
  const sink = new RecordingSink()
  const run = worker.run(sink, prepared)
  await until(t, () => sink.text === events.slice(0, 2).join(''), 'two events are there')
  sink.leave()
  t.is((await run).outcome, 'cancelled')
  await assertClean(t, worker)
  t.deepEqual(
    worker.lane.learned.map(found => found.text),
    [events.slice(0, 2).join('')],
  )
  t.deepEqual([worker.learned, worker.lane.usages], [[LEARNED.beginning], []])
  await assertClean(t, worker)
})

test('a client that leaves before the first byte leaves nothing behind', async t => {
  const pod = await startPod(t, ({ socket }) => void socket.write(streamHead))
  const worker = ready(startWorker(t, [pod.origin]))
  const sink = new RecordingSink()
  const run = worker.run(sink, prepared)
  await until(t, () => pod.requests.length === 1, 'it is under way')
  await sleep(20)
  sink.leave()
  t.is((await run).outcome, 'cancelled')
  await assertClean(t, worker)
  t.deepEqual([worker.lane.learned, worker.learned, worker.lane.dropped], [[], [], [3]])
})

test('the beginning of a JSON is of no use, and a pod that fails has lost its cache', async t => {
  const half = (text: string) =>
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length * 2}\r\n\r\n${text}`
  const pod = await startPod(t, ({ socket }) => void socket.write(half(json)))
  const dying = await startPod(
    t,
    ({ socket }) => void socket.end(Buffer.concat([Buffer.from(streamHead), chunked(events[0] ?? '')])),
  )
  const worker = ready(startWorker(t, [pod.origin]))
  const sink = new RecordingSink()
  const run = worker.run(sink, prepared)
  await until(t, () => sink.text === json, 'half of it is there')
  sink.leave()
  await run
  t.deepEqual([worker.lane.learned, worker.learned], [[], [LEARNED.nothing]])
  await assertClean(t, worker)

  const other = ready(startWorker(t, [dying.origin]))
  const record = await other.run(new RecordingSink(), prepared)
  t.is(record.outcome, 'failed')
  t.deepEqual([other.lane.learned, other.learned, other.lane.usages], [[], [], []])
  await assertClean(t, other)
})

test('faults of reading and learning are reported, and are not the request’s', async t => {
  const pod = await startPod(t, sendEvents)
  const worker = ready(startWorker(t, [pod.origin]))
  worker.lane.learning = Promise.reject(new Error('no tokenizer'))
  worker.lane.learning.catch(() => {})
  worker.lane.checkUsage = () => {
    throw new Error('no such ticket')
  }
  t.is((await worker.run(new RecordingSink(), prepared)).outcome, 'ok')
  await until(t, () => worker.learned.length === 1, 'the first one fails')
  worker.lane.learnAnswer = () => {
    throw new Error('at once')
  }
  t.is((await worker.run(new RecordingSink(), prepared)).outcome, 'ok')
  await until(t, () => worker.faults.length === 4, 'all are reported')
  t.deepEqual(worker.faults.map(String).sort(), [
    'Error: at once',
    'Error: no such ticket',
    'Error: no such ticket',
    'Error: no tokenizer',
  ])
  t.deepEqual(worker.learned, [LEARNED.failed, LEARNED.failed])
  await assertClean(t, worker)
})

test('memory: an answer’s share of it is held until it is learned, and a long one gives its beginning', async t => {
  const many = Array.from({ length: 4000 }, (_, i) => token(`word ${i} `))
  const pod = await startPod(t, request => sendEvents(request, many))
  const worker = ready(startWorker(t, [pod.origin], { room: new AnswerRoom(65_536, 100_000) }))
  let learn = () => {}
  worker.lane.learning = new Promise(resolve => {
    learn = resolve
  })
  await worker.run(new RecordingSink(), prepared)
  await until(t, () => worker.lane.learned.length === 1, 'it is handed over')
  const [{ text = '' } = {}] = worker.lane.learned
  t.true(many.join('').startsWith(text))
  t.true(text.length > 60_000 && text.length <= 65_536, `${text.length} bytes`)
  const { left } = worker.room
  t.true(left < 40_000, 'the memory is still held')
  await worker.run(new RecordingSink(), prepared)
  await worker.run(new RecordingSink(), prepared)
  t.deepEqual(worker.learned, [LEARNED.nothing], 'the third one has no room')
  t.is(worker.lane.learned.length, 1, 'the second one waits for the first')
  learn()
  await assertClean(t, worker)
  t.is(worker.lane.learned.length, 2)
  t.true((worker.lane.learned[1]?.text.length ?? 0) <= left, 'it had what was left')
  t.deepEqual(worker.lane.dropped, [3, 3, 3])
  t.deepEqual(worker.learned, [LEARNED.nothing, LEARNED.beginning, LEARNED.beginning])
})

test('memory: many streams at a time stay within the worker’s room', async t => {
  const many = Array.from({ length: 300 }, (_, i) => token(`word ${i} `))
  const pod = await startPod(t, request => sendEvents(request, many))
  const worker = ready(startWorker(t, [pod.origin], { room: new AnswerRoom(65_536, 200_000) }))
  let learn = () => {}
  worker.lane.learning = new Promise(resolve => {
    learn = resolve
  })
  const sinks = Array.from({ length: 40 }, () => new RecordingSink())
  await Promise.all(sinks.map(sink => worker.run(sink, prepared)))
  for (const sink of sinks) t.is(sink.text, many.join(''))
  t.true(worker.room.left < 50_000, 'the room is used')
  learn()
  await assertClean(t, worker)
  const kept = worker.lane.learned.map(({ text }) => text)
  for (const text of kept) t.true(many.join('').startsWith(text))
  const bytes = kept.reduce((sum, text) => sum + text.length, 0)
  t.true(bytes > 100_000 && bytes <= 200_000, `${bytes} bytes kept`)
  t.is(worker.lane.dropped.length, 40)
  t.is(worker.learned.length, 40)
})

test('property: whatever the pieces, the counts are found and what is kept is a beginning', async t => {
  const body = [...Array.from({ length: 30 }, (_, i) => token(`word ${i} `)), ...events].join('')
  const cuts = fc.array(fc.integer({ min: 1, max: body.length - 1 }), { maxLength: 12 })
  let pieces: string[] = []
  const pod = await startPod(t, request => sendEvents(request, pieces))
  const worker = ready(startWorker(t, [pod.origin]))
  await fc.assert(
    fc.asyncProperty(cuts, async places => {
      const sorted = [0, ...new Set(places), body.length].sort((a, b) => a - b)
      pieces = sorted.slice(1).map((end, i) => body.slice(sorted[i], end))
      worker.lane.usages.length = 0
      worker.lane.learned.length = 0
      await worker.run(new RecordingSink(), prepared)
      await assertClean(t, worker)
      t.deepEqual(
        worker.lane.learned.map(({ text }) => text),
        [body],
      )
      // The usage may be torn into more pieces than are remembered.
      const isNear = body.length - (sorted.at(-9) ?? 0) >= body.length - body.lastIndexOf('data: {')
      if (isNear) t.is(worker.lane.usages.length, 1)
      for (const found of worker.lane.usages) t.like(found, { promptTokens: 150 })
    }),
    { numRuns: 100 },
  )
  await assertClean(t, worker)
})

test('property: a kept answer is a beginning of it, all of it where there is room, and never over its bound', t => {
  const [perAnswer, total] = [20_000, 30_000]
  // As reads give them: some pieces share a buffer, and some have one of their own.
  const piece = fc.record({
    length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 12_000 })),
    own: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(fc.array(piece, { maxLength: 12 }), { minLength: 1, maxLength: 4 }), answers => {
      const room = new AnswerRoom(perAnswer, total)
      const kept = answers.map(pieces => {
        const answer = new KeptAnswer(room)
        const chunks = pieces.map(({ length, own }, i) => {
          const chunk = own ? Buffer.alloc(length) : Buffer.alloc(16_384).subarray(7, 7 + length)
          return chunk.fill(i + 1)
        })
        for (const chunk of chunks) answer.add(chunk)
        return { answer, whole: Buffer.concat(chunks) }
      })
      let held = 0
      for (const { answer, whole } of kept) {
        const cut = answer.cut
        const bytes = Buffer.concat(answer.pieces())
        t.deepEqual(bytes, whole.subarray(0, bytes.length))
        t.is(bytes.length < whole.length, cut)
        t.is(answer.isEmpty, bytes.length === 0)
        const memory = new Set(answer.pieces().map(({ buffer }) => buffer))
        const size = [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0)
        t.true(size <= perAnswer)
        held += size
      }
      t.true(held <= total - room.left, 'all memory is accounted for')
      t.true(room.left >= 0)
      for (const { answer } of kept) answer.release()
      t.is(room.left, total)
    }),
    { numRuns: 300 },
  )
})

test('property: answers are learned in order, in batches, one at a time, and each ticket is dropped once', async t => {
  const sizes = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 90 })
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat({ max: 5 }), async (lengths, failing) => {
      const lane = new CountingLane()
      let [underWay, most, mostBytes] = [0, 0, 0]
      let bytes = 0
      lane.learnAnswer = async (ticket, _ref, _events, pieces) => {
        const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
        most = Math.max(most, ++underWay)
        bytes += size
        mostBytes = Math.max(mostBytes, bytes - size)
        lane.learned.push({ ticket, ref: 0, events: true, text: '' })
        await new Promise(resolve => setImmediate(resolve))
        underWay--
        bytes -= size
        if (ticket % 6 === failing) throw new Error('failed')
      }
      const room = new AnswerRoom(2 ** 20, 2 ** 30)
      const done: number[] = []
      const failed: number[] = []
      const queue = new LearnQueue(lane, ({ ticket, kept }, error) => {
        done.push(ticket)
        if (error !== undefined) failed.push(ticket)
        kept.release()
      })
      const tickets = lengths.map((length, i) => {
        const ticket = i + 1
        const kept = new KeptAnswer(room)
        kept.add(Buffer.alloc(length))
        if (isTicket(ticket))
          queue.add({ ticket, promptTokens: 1, ref: podAt('', 0).ref, events: true, kept })
        return ticket
      })
      await until(t, () => done.length === tickets.length, 'all are learned')
      t.deepEqual(
        lane.learned.map(({ ticket }) => ticket),
        tickets,
      )
      t.deepEqual(lane.dropped, tickets)
      t.deepEqual(
        done.toSorted((a, b) => a - b),
        tickets,
      )
      t.deepEqual(
        failed.toSorted((a, b) => a - b),
        tickets.filter(ticket => ticket % 6 === failing),
      )
      t.true(most <= 32, `${most} at a time`)
      t.true(mostBytes <= 262_144, `${mostBytes} bytes at a time`)
      t.is(room.left, 2 ** 30)
    }),
    { numRuns: 60 },
  )
})

test('prompts in the queue are bounded too', async t => {
  const lane = new CountingLane()
  const room = new AnswerRoom()
  let done = 0
  const queue = new LearnQueue(lane, ({ kept }) => {
    kept.release()
    done++
  })
  const promptTokens = 1_000_000
  let added = 0
  for (const ticket of [1, 2, 3, 4, 5, 6]) {
    if (!queue.admits(promptTokens) || !isTicket(ticket)) continue
    const kept = new KeptAnswer(room)
    kept.add(Buffer.from('leaf'))
    queue.add({ ticket, promptTokens, ref: podAt('', 0).ref, events: true, kept })
    added++
  }
  t.is(added, 4)
  await until(t, () => done === added, 'they are learned')
  t.true(queue.admits(promptTokens))
})

test('the counts of more answers than a tick allows are not compared', async t => {
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, json)))
  const worker = ready(startWorker(t, [pod.origin]))
  const clock = { tick: 0 }
  const lane = new CountingLane()
  lane.promptTokens = 150
  const answers = new Answers(lane, { onUsage: () => {}, onLearned: () => {}, onFault: t.fail }, clock)
  const ctx = worker.contexts.take()
  const ticket = 3
  if (isTicket(ticket)) ctx.ticket = ticket
  ctx.request = { id: '', method: 'POST', path: '', query: '', headers: [], kind: 'chat' }
  const info = podAt(pod.origin, 0)
  const answer = () => {
    const reader = answers.open(
      ctx,
      new Lease(lane, info, info.ref, 0, 0),
      { status: 200, events: false, encoded: false },
      false,
    )
    reader?.feed(Buffer.from(json))
    reader?.done()
  }
  for (let i = 0; i < 80; i++) answer()
  t.is(lane.usages.length, 50)
  clock.tick++
  answer()
  t.is(lane.usages.length, 51)
  worker.contexts.give(ctx)
})
