import test from 'ava'
import { createBoard, FleetBoard } from '#phyllo/data/fleet-board.js'

test('arrivals are counted by model over all threads; models that are too many share a count', t => {
  const memory = createBoard(64)
  const [one, two] = [new FleetBoard(memory), new FleetBoard(memory)]
  t.deepEqual([one.arrived(3), two.arrived(3), one.arrived(4), two.arrived(3)], [0, 1, 0, 2])
  t.deepEqual([one.arrived(1000), two.arrived(2000), one.arrived(-1)], [0, 1, 0])
  two.wentCold(63)
  t.is(one.arrived(0), 1, 'the turn of the last slot is none of these')
})
