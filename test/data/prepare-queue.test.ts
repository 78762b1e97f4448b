/** The bound on what waits for the thread pool, over several threads. */
import test from 'ava'
import { createPrepareQueue, PrepareQueue, queuedBytes } from '#phyllo/data/prepare-queue.js'

test('what waits is counted over all threads, up to the limit and not beyond', t => {
  const handle = createPrepareQueue(2, 100)
  const [one, other] = [new PrepareQueue(handle, 0), new PrepareQueue(handle, 1)]
  t.true(one.enter(60))
  t.true(other.enter(40))
  t.false(one.enter(1))
  t.is(queuedBytes(handle), 100)
  other.leave(40)
  t.false(one.enter(41))
  t.true(one.enter(40))
  one.leave(60)
  one.leave(40)
  t.is(queuedBytes(handle), 0)
})

test('a body larger than the limit waits alone, and with a limit of 0 every body does', t => {
  for (const limit of [100, 0]) {
    const handle = createPrepareQueue(1, limit)
    const queue = new PrepareQueue(handle, 0)
    t.true(queue.enter(1_000))
    t.false(queue.enter(1))
    queue.leave(1_000)
    t.true(queue.enter(1))
  }
})

test('a worker in a dead one’s place starts with nothing that waits', t => {
  const handle = createPrepareQueue(2, 100)
  t.true(new PrepareQueue(handle, 0).enter(70))
  t.true(new PrepareQueue(handle, 1).enter(30))
  t.true(new PrepareQueue(handle, 0).enter(70))
  t.is(queuedBytes(handle), 100)
})
