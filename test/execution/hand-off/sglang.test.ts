/** SGLang's rooms and lists. */
import { randomFillSync } from 'node:crypto'
import test from 'ava'
import fc from 'fast-check'
import { arrayLength, elementsOf, fieldOf } from '#phyllo/execution/body-edit.js'
import { CLIENT_FIELDS, withoutClientHeaders } from '#phyllo/execution/hand-off/client-fields.js'
import {
  batchShape,
  bootstrapHost,
  type SglangMeeting,
  sglangDecodeBody,
  sglangPrefillBody,
} from '#phyllo/execution/hand-off/sglang.js'
import { drawRooms, type FillRandom } from '#phyllo/execution/hand-off/sglang-rooms.js'

const body = (value: object): Buffer => Buffer.from(JSON.stringify(value))
const MOST = 2n ** 63n - 1n

/** A source that gives these words over and over. */
const fixed =
  (...words: bigint[]): FillRandom =>
  bytes => {
    const out = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
    for (const i of out.keys()) out[i] = words[i % words.length] ?? 0n
  }

test('rooms are all different, from 1 to 2^63 - 1, and have all their digits', t => {
  const words = fc.array(
    fc.oneof(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.constantFrom(0n, 1n, MOST, 2n ** 64n - 1n, 2n ** 63n),
    ),
    { minLength: 1, maxLength: 12 },
  )
  fc.assert(
    fc.property(words, fc.integer({ min: 1, max: 40 }), (given, count) => {
      const rooms = drawRooms(count, fixed(...given))
      t.is(new Set(rooms).size, count)
      for (const room of rooms) {
        t.is(BigInt(room).toString(), room)
        t.true(BigInt(room) >= 1n && BigInt(room) <= MOST)
      }
      // What was drawn is what is used, but for the sign bit.
      const [first = 0n] = given
      if ((first & MOST) !== 0n) t.is(rooms[0], (first & MOST).toString())
    }),
  )
  t.is(new Set(drawRooms(1024, randomFillSync)).size, 1024)
})

const meeting = (rooms: readonly string[], batched: boolean): SglangMeeting => ({
  host: '10.0.0.1',
  port: 8998,
  rooms,
  batched,
})

test('a single request has plain values, a batch lists of its length; the digits of rooms stay', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.boolean(), (count, alone) => {
      const rooms = drawRooms(alone ? 1 : count, randomFillSync)
      for (const make of [sglangPrefillBody, sglangDecodeBody]) {
        const sent = make(body({ prompt: 'a', bootstrap_room: 5 }), meeting(rooms, !alone))
        const room = fieldOf(sent, 'bootstrap_room')
        const fields = ['bootstrap_host', 'bootstrap_port'].map(name => fieldOf(sent, name)?.toString())
        if (alone) {
          t.is(room?.toString(), rooms[0])
          t.deepEqual(fields, ['"10.0.0.1"', '8998'])
        } else {
          t.deepEqual(room === undefined ? [] : [...elementsOf(room)].map(String), rooms)
          t.deepEqual(fields, [`[${rooms.map(() => '"10.0.0.1"')}]`, `[${rooms.map(() => '8998')}]`])
          t.is(arrayLength(room ?? Buffer.alloc(0)), count)
        }
      }
    }),
  )
  t.is(
    sglangDecodeBody(body({ prompt: 'a' }), {
      ...meeting(['9223372036854775807'], false),
      port: null,
    }).toString(),
    '{"prompt":"a","bootstrap_host":"10.0.0.1","bootstrap_port":null,"bootstrap_room":9223372036854775807}',
  )
})

test('both legs say on which ranks they meet', t => {
  const ranked: SglangMeeting = { ...meeting(['7'], false), prefillRank: 2, decodeRank: 0 }
  const client = body({ data_parallel_rank: 9, routed_dp_rank: 9, disagg_prefill_dp_rank: 9 })
  const place = { bootstrap_host: '10.0.0.1', bootstrap_port: 8998, bootstrap_room: 7 }
  t.deepEqual(JSON.parse(sglangPrefillBody(client, ranked).toString()), { ...place, routed_dp_rank: 2 })
  t.deepEqual(JSON.parse(sglangDecodeBody(client, ranked).toString()), {
    ...place,
    disagg_prefill_dp_rank: 2,
    routed_dp_rank: 0,
  })
})

test('a bootstrap host is the origin’s, IPv6 in brackets', t => {
  t.is(bootstrapHost('http://10.0.0.1:30000'), '10.0.0.1')
  t.is(bootstrapHost('https://prefill-0.pods.local'), 'prefill-0.pods.local')
  t.is(bootstrapHost('http://[fd00::1]:30000'), '[fd00::1]')
})

const shapes: readonly [
  json: string,
  kind: 'chat' | 'completions' | 'other',
  size: number,
  batched: boolean,
][] = [
  ['{"messages":[{},{}]}', 'chat', 1, false],
  ['{"messages":[],"n":1}', 'chat', 1, false],
  ['{"messages":[],"n":null}', 'chat', 1, false],
  ['{"messages":[],"n":3}', 'chat', 3, true],
  ['{"messages":[],"n":"3"}', 'chat', 0, true],
  ['{"prompt":"a"}', 'completions', 1, false],
  ['{"prompt":[1,2,3]}', 'completions', 1, false],
  ['{"prompt": [ ]}', 'completions', 0, true],
  ['{"prompt": [ "a" ]}', 'completions', 1, true],
  ['{"prompt":["a","b"],"n":2}', 'completions', 4, true],
  ['{"prompt":[[1],[2,3],[4]]}', 'completions', 3, true],
  ['{"text":["a","b"],"sampling_params":{"n":2}}', 'other', 4, true],
  ['{"text":null,"input_ids":[[1],[2]]}', 'other', 2, true],
  ['{"input_ids":[1,2]}', 'other', 1, false],
  ['{"input_embeds":[[0.5,1.5]]}', 'other', 1, false],
  ['{"input_embeds":[[[0.5],[1.5]],[[1.0]]]}', 'other', 2, true],
]
for (const [json, kind, size, batched] of shapes) {
  test(`${kind} ${json} has ${size} prompts`, t => {
    t.deepEqual(batchShape(Buffer.from(json), kind), { size, batched })
  })
}

test('what a client says of rooms and ranks reaches no pod, in the body or the headers', t => {
  const client = body({ ...Object.fromEntries(CLIENT_FIELDS.map(name => [name, 666])), prompt: 'a' })
  const sent = [
    sglangPrefillBody(client, meeting(['7'], false)),
    sglangDecodeBody(client, meeting(['7'], false)),
  ]
  for (const each of sent) t.false(each.includes('666'))
  const headers = [
    'authorization',
    'k',
    'x-override-bootstrap-host',
    'evil',
    'x-override-bootstrap-room',
    '1',
  ]
  t.deepEqual(withoutClientHeaders([...headers, 'x-data-parallel-rank', '1', 'x-a', 'b']), [
    'authorization',
    'k',
    'x-a',
    'b',
  ])
})
