/** The bound on what waits for the thread pool, over several threads, and the turns of one. */
import test from 'ava'
import {
  concurrentPrepares,
  createPrepareQueue,
  forgetQueued,
  PrepareQueue,
  queuedBytes,
} from '#phyllo/data/prepare-queue.js'

/** Work that ends when it is told to. */
function work() {
  let started = false
  const { promise, resolve, reject } = deferred()
  const run = () => {
    started = true
    return promise
  }
  return { run, end: resolve, fail: reject, started: () => started }
}

function deferred() {
  let resolve: () => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<void>((fulfil, refuse) => {
    resolve = fulfil
    reject = refuse
  })
  return { promise, resolve, reject }
}

test('what waits is counted over all threads, up to the limit and not beyond', async t => {
  const handle = createPrepareQueue(2, 100, 4)
  const [one, other] = [new PrepareQueue(handle, 0), new PrepareQueue(handle, 1)]
  const [a, b] = [work(), work()]
  const first = one.run(60, a.run)
  const second = other.run(40, b.run)
  t.is(one.run(1, work().run), undefined)
  t.is(queuedBytes(handle), 100)
  b.end()
  await second
  t.is(one.run(41, work().run), undefined)
  const c = work()
  const third = one.run(40, c.run)
  a.end()
  c.end()
  await Promise.all([first, third])
  t.is(queuedBytes(handle), 0)
})

test('a body larger than the limit waits alone, and with a limit of 0 every body does', async t => {
  for (const limit of [100, 0]) {
    const queue = new PrepareQueue(createPrepareQueue(1, limit, 4), 0)
    const a = work()
    const pending = queue.run(1_000, a.run)
    t.not(pending, undefined)
    t.is(queue.run(1, work().run), undefined)
    a.end()
    await pending
    t.not(queue.run(1, work().run), undefined)
  }
})

test('bodies have their turn in order, so many at a time, also after one that failed', async t => {
  const handle = createPrepareQueue(1, 100, 2)
  const queue = new PrepareQueue(handle, 0)
  const all = [work(), work(), work(), work()]
  const ends = all.map(one => queue.run(1, one.run))
  const started = () => all.map(one => one.started())
  t.deepEqual(started(), [true, true, false, false])
  all[1]?.fail(new Error('refused'))
  await t.throwsAsync(async () => ends[1], { message: 'refused' })
  await Promise.resolve()
  t.deepEqual(started(), [true, true, true, false])
  all[0]?.end()
  await ends[0]
  await Promise.resolve()
  t.deepEqual(started(), [true, true, true, true])
  all[2]?.end()
  all[3]?.end()
  await Promise.all([ends[2], ends[3]])
  t.is(queuedBytes(handle), 0)
  // Both places are free again.
  const more = [work(), work(), work()]
  for (const one of more) void queue.run(1, one.run)
  t.deepEqual(
    more.map(one => one.started()),
    [true, true, false],
  )
})

test('what a dead worker had waiting is forgotten', t => {
  const handle = createPrepareQueue(2, 100, 4)
  t.not(new PrepareQueue(handle, 0).run(70, work().run), undefined)
  t.not(new PrepareQueue(handle, 1).run(30, work().run), undefined)
  forgetQueued(handle, 0)
  t.is(queuedBytes(handle), 30)
  t.not(new PrepareQueue(handle, 0).run(70, work().run), undefined)
  t.is(queuedBytes(handle), 100)
})

test('a worker’s share of the cores that event loops leave, and of the pool but for a thread, is never none', t => {
  t.deepEqual(
    [
      [2, 1],
      [1, 1],
      [4, 4],
      [8, 4],
      [16, 4],
      [8, 1],
      [64, 4],
    ].map(([cores = 0, workers = 0]) => concurrentPrepares(cores, workers, 16)),
    [1, 1, 1, 1, 3, 7, 3],
  )
})

test('of libuv’s four threads three at most prepare', t => {
  t.deepEqual(
    [1, 2, 3, 4].map(workers => concurrentPrepares(64, workers, 4)),
    [3, 1, 1, 1],
  )
})
