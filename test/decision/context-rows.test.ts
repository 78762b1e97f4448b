import test from 'ava'
import { slot } from '#phyllo/decision/slot.js'
import { FakeFleet } from './fake-addon.js'
import { TestWorker } from './helpers.js'

test('a request of one router in a process emptied what a request of another had written', t => {
  const note = slot('note').of<string>()
  const [one, other] = [new FakeFleet(64), new FakeFleet(64)].map(fleet => new TestWorker(fleet, []).contexts)
  if (one === undefined || other === undefined) throw new Error('unreachable')
  const [a, b] = [one.take(), other.take()]
  a.set(note, 'a')
  b.set(note, 'b')
  t.is(a.get(note), 'a')
  one.give(a)
  t.is(b.get(note), 'b')
  other.give(b)
  t.is(note.peek(b), undefined)
})
