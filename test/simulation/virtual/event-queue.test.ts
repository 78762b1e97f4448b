import test from 'ava'
import fc from 'fast-check'
import { EventQueue } from '#phyllo/simulation/virtual/event-queue.js'

test('events happen in the order of their time, then of their scheduling, whoever schedules them', async t => {
  // Each event schedules others when it happens, some for the past.
  const plan = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 20 }), fc.array(fc.integer({ min: -5, max: 15 }), { maxLength: 3 })),
    { maxLength: 40 },
  )
  await fc.assert(
    fc.asyncProperty(plan, async events => {
      const queue = new EventQueue()
      const happened: { time: number; order: number }[] = []
      let scheduled = 0
      const schedule = (ms: number, then: readonly number[]): void => {
        const time = Math.max(ms, queue.now)
        const order = scheduled++
        queue.at(ms, () => {
          if (queue.now !== time) throw new Error(`it is ${queue.now}, not ${time}`)
          happened.push({ time, order })
          for (const later of then) schedule(queue.now + later, [])
        })
      }
      for (const [at, then] of events) schedule(at, then)
      await queue.run()
      const sorted = happened.toSorted((a, b) => a.time - b.time || a.order - b.order)
      return (
        happened.length === scheduled && queue.length === 0 && happened.every((one, i) => one === sorted[i])
      )
    }),
  )
  t.pass()
})

test('a promise holds the clock, and what an action throws ends the run', async t => {
  const queue = new EventQueue()
  const seen: string[] = []
  queue.at(1, async () => {
    await new Promise(resolve => setTimeout(resolve, 5))
    seen.push('slow')
  })
  queue.at(2, () => void seen.push('next'))
  await queue.run()
  t.deepEqual(seen, ['slow', 'next'])
  queue.at(3, () => {
    throw new Error('broken')
  })
  await t.throwsAsync(queue.run(), { message: 'broken' })
})

test('no time, no event', t => {
  for (const ms of [Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => new EventQueue().at(ms, () => undefined), { instanceOf: RangeError })
  }
})
