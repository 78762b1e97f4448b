/** How a pod stands to an adapter: by its engine's word and what was sent since, over all threads. */
import test from 'ava'
import fc from 'fast-check'
import {
  ADAPTERS,
  AdapterTable,
  createAdapterMemory,
  STANDING,
  type StandingName,
} from '#phyllo/data/adapter-table.js'
import { hashWord } from '#phyllo/data/hash.js'
import { type EngineAdapters, MOST_TOLD } from '#phyllo/data/scrape/adapter-series.js'

const standingOf = (table: AdapterTable, slot: number, name: string): StandingName | undefined =>
  (['untold', 'active', 'room', 'waiting', 'full'] as const).find(
    each => STANDING[each] === table.standing(slot, hashWord(name)),
  )

/** The Go source's switch, on sets of names (lora_affinity.go). */
function byTheSource({ running, waiting, max }: EngineAdapters, name: string): StandingName {
  if (running.includes(name)) return 'active'
  if (running.length + waiting.length < max) return 'room'
  return waiting.includes(name) ? 'waiting' : 'full'
}

const name = fc.constantFrom(...'abcdefghijkl')
const names = fc.uniqueArray(name, { maxLength: 5 })
const adapters = fc.record({ running: names, waiting: names, max: fc.integer({ min: 1, max: 8 }) })

test('without anything sent since, as the Gateway API inference extension has it', t => {
  fc.assert(
    fc.property(adapters, fc.array(name), (told, before) => {
      const table = new AdapterTable(createAdapterMemory(3))
      for (const each of before) table.used(1, hashWord(each))
      table.tell(1, told, table.turn())
      for (const each of 'abcdefghijklm') {
        t.is(standingOf(table, 1, each), byTheSource(told, each))
        t.is(standingOf(table, 0, each), 'untold')
        t.is(standingOf(table, 2, each), 'untold')
      }
      table.tell(1, undefined, table.turn())
      t.is(standingOf(table, 1, 'a'), 'untold')
    }),
  )
})

test('what was sent since takes places that are left, and waits where none is', t => {
  fc.assert(
    fc.property(adapters, names, names, (told, before, later) => {
      const memory = createAdapterMemory(1)
      // The scraper's thread, and a worker's.
      const scraper = new AdapterTable(memory)
      const table = new AdapterTable(memory)
      for (const each of before) table.used(0, hashWord(each))
      const turn = scraper.turn()
      for (const each of later) table.used(0, hashWord(each))
      scraper.tell(0, told, turn)
      const { running, waiting, max } = told
      for (const each of 'abcdefghijklm') {
        const others = later.filter(
          sent => sent !== each && !running.includes(sent) && !waiting.includes(sent),
        )
        const hasRoom = running.length + waiting.length + others.length < max
        const isNew = later.includes(each) && !waiting.includes(each)
        const expected = running.includes(each)
          ? 'active'
          : hasRoom
            ? isNew
              ? 'active'
              : 'room'
            : isNew || waiting.includes(each)
              ? 'waiting'
              : 'full'
        t.is(standingOf(table, 0, each), expected, each)
      }
    }),
  )
})

test('never more active adapters than places by what was sent, however many', t => {
  fc.assert(
    fc.property(adapters, fc.array(fc.nat(60).map(String), { maxLength: 100 }), (told, later) => {
      const table = new AdapterTable(createAdapterMemory(1))
      table.tell(0, { ...told, running: told.running.slice(0, told.max) }, table.turn())
      for (const each of later) table.used(0, hashWord(each))
      const active = new Set(
        [...told.running.slice(0, told.max), ...later].filter(
          each => standingOf(table, 0, each) === 'active',
        ),
      )
      t.true(active.size <= told.max, String([...active]))
    }),
  )
})

test('slots do not touch each other, and no list is longer than its row', t => {
  const many = (count: number, mark: string): string[] => Array.from({ length: count }, (_, i) => mark + i)
  const table = new AdapterTable(createAdapterMemory(2))
  const second = { max: 2, running: ['z'], waiting: [] }
  table.tell(1, second, 0)
  table.tell(0, { max: 5, running: many(3 * MOST_TOLD, 'r'), waiting: many(3 * MOST_TOLD, 'w') }, 0)
  t.is(standingOf(table, 0, `r${MOST_TOLD - 1}`), 'active')
  t.is(standingOf(table, 0, `w${MOST_TOLD - 1}`), 'waiting')
  t.is(standingOf(table, 0, `w${MOST_TOLD}`), 'full')
  for (let i = 0; i < 3 * ADAPTERS; i++) table.used(0, hashWord(`s${i}`))
  t.is(standingOf(table, 0, `s${3 * ADAPTERS - 1}`), 'waiting')
  t.is(standingOf(table, 1, 'z'), 'active')
  t.is(standingOf(table, 1, 'y'), 'room')
})

test('after 2^31 requests the turns went negative, and every adapter counted as not loaded', t => {
  for (const from of [2 ** 31 - 3, 2 ** 32 - 3]) {
    const memory = createAdapterMemory(1)
    new Int32Array(memory.memory)[0] = from | 0
    const table = new AdapterTable(memory)
    for (const each of 'abcdef') table.used(0, hashWord(each))
    t.is(table.count(0), 6)
    t.deepEqual(
      [...'abcdef'].map(each => table.since(0, hashWord(each))),
      [5, 4, 3, 2, 1, 0],
    )
    for (let i = 0; i < ADAPTERS; i++) table.used(0, hashWord(`later ${i}`))
    t.is(table.since(0, hashWord('a')), -1)
  }
})

test('a new pod in a slot had the adapters of the one before it', t => {
  const table = new AdapterTable(createAdapterMemory(2))
  for (const slot of [0, 1]) table.used(slot, hashWord('a'))
  table.tell(0, { running: ['a'], waiting: [], max: 2 }, table.turn())
  table.forget(0)
  t.is(table.since(0, hashWord('a')), -1)
  t.is(standingOf(table, 0, 'a'), 'untold')
  t.is(table.since(1, hashWord('a')), 0)
})
