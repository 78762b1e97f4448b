import test from 'ava'
import { BOARD_MODELS, createBoard, FleetBoard } from '#phyllo/data/fleet-board.js'

test('arrivals are counted by model over all threads; models that are too many share a count', t => {
  const memory = createBoard(64)
  const [one, two] = [new FleetBoard(memory), new FleetBoard(memory)]
  t.deepEqual([one.arrived(3), two.arrived(3), one.arrived(4), two.arrived(3)], [0, 1, 0, 2])
  t.deepEqual([one.arrived(1000), two.arrived(2000), one.arrived(-1)], [0, 1, 0])
  two.wentCold(63)
  t.is(one.arrived(0), 1, 'the turn of the last slot is none of these')
})

test('the last model of its own shares its count with none of those beyond', t => {
  const board = new FleetBoard(createBoard(64))
  t.deepEqual([board.arrived(BOARD_MODELS), board.arrived(BOARD_MODELS - 1)], [0, 0])
})

test('a regime is told to all threads, by model; models beyond have none', t => {
  const memory = createBoard(64)
  const [one, onlooker] = [new FleetBoard(memory), new FleetBoard(memory, true)]
  t.is(onlooker.keptApart(0), undefined)
  one.keepApart(0, false)
  one.keepApart(BOARD_MODELS - 1, true)
  t.deepEqual(
    [onlooker.keptApart(0), onlooker.keptApart(1), onlooker.keptApart(63)],
    [false, undefined, true],
  )
  one.keepApart(0, true)
  t.true(onlooker.keptApart(0))
  for (const id of [-1, BOARD_MODELS]) {
    one.keepApart(id, true)
    t.is(onlooker.keptApart(id), undefined)
  }
})
