/** SGLang: both legs at once, matched by room; each thing that is wrong with a room is refused. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { at, events, post, until } from '../kit.js'
import { type Answer, body, CHAT, isClean, type Pair, pairFor, textOf } from './kit.js'

/** As routers draw it: 63 random bits, more than a JavaScript number holds. */
const room = (): string => String(randomBytes(8).readBigUInt64BE() & ((1n << 63n) - 1n))

/** The body with its rooms as digits: JSON.stringify would round them. */
const withRooms = (request: object, rooms: string | readonly string[]): string => {
  const digits = typeof rooms === 'string' ? rooms : `[${rooms.join(',')}]`
  return `${JSON.stringify(request).slice(0, -1)},"bootstrap_room":${digits}}`
}

const bootstrap = ({ prefill }: Pair) => ({
  bootstrap_host: prefill.kvAddress?.host,
  bootstrap_port: prefill.kvAddress?.port,
})

const send = async (engine: Pair['prefill'], text: string, path = CHAT): Promise<Answer> => {
  const answer = await post(engine, path, text)
  const json: unknown = await answer.json()
  return { status: answer.status, json, message: String(at(json, 'message')) }
}

const both = (pair: Pair, text: string, path = CHAT): Promise<Answer[]> =>
  Promise.all([send(pair.prefill, text, path), send(pair.decode, text, path)])

test('both legs meet in the room, whichever comes first, and the decode computes nothing of the prompt', async t => {
  const pair = await pairFor(t, 'sglang')
  const texts: unknown[] = []
  for (const order of ['together', 'prefill first', 'decode first']) {
    const text = withRooms({ ...body(), ...bootstrap(pair) }, room())
    const first = order === 'prefill first' ? pair.prefill : pair.decode
    const second = first === pair.prefill ? pair.decode : pair.prefill
    const early = send(first, text)
    if (order !== 'together') await until(() => first.stats().waiting === 1)
    const answers = await Promise.all([early, send(second, text)])
    t.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
      order,
    )
    t.is(textOf(answers[0]?.json), textOf(answers[1]?.json))
    texts.push(textOf(answers[0]?.json))
  }
  t.is(new Set(texts).size, 3)
  t.is(pair.decode.stats().remoteTokens, pair.prefill.stats().promptTokens)
  await until(() => isClean(pair.prefill) && isClean(pair.decode))
  t.like(pair.prefill.handOffs(), { made: 3, pulled: 3, rejected: 0 })
})

test('a batch has an array of rooms, or one from which the next are counted', async t => {
  const pair = await pairFor(t, 'sglang')
  const request = {
    model: 'tiny',
    prompt: ['one '.repeat(99), 'two '.repeat(99)],
    max_tokens: 4,
    temperature: 0,
  }
  const { bootstrap_host: host, bootstrap_port: port } = bootstrap(pair)
  const arrays = { ...request, bootstrap_host: [host, host], bootstrap_port: [port, port] }
  const path = '/v1/completions'
  const batch = await both(pair, withRooms(arrays, [room(), room()]), path)
  t.deepEqual(
    batch.map(({ status }) => status),
    [200, 200],
  )
  const counted = await both(pair, withRooms({ ...request, ...bootstrap(pair) }, room()), path)
  t.deepEqual(
    counted.map(({ status }) => status),
    [200, 200],
  )
  t.is(pair.decode.handOffs().received, 4)
})

test('what has no room, no host, wrong lengths or equal rooms is refused by both', async t => {
  const pair = await pairFor(t, 'sglang')
  const where = bootstrap(pair)
  const completions = '/v1/completions'
  const batch = { model: 'tiny', prompt: ['one', 'two', 'three'] }
  const bad: readonly (readonly [text: string, message: RegExp, path?: string])[] = [
    [JSON.stringify(body()), /without bootstrap room id/],
    [withRooms({ ...body(), ...where }, 'null'), /without bootstrap room id/],
    [withRooms({ ...batch, ...where }, [room(), room()]), /2 entries for 3 sequences/, completions],
    [
      withRooms({ ...body({ n: 2 }), ...where }, [room(), room()]),
      /all answers of a prompt would have one room/,
    ],
    [withRooms({ ...body(), ...where, bootstrap_host: ['a', 'b'] }, room()), /2 entries for 1 sequences/],
    [withRooms({ ...batch, ...where }, ['7', '8', '7']), /rooms must differ/, completions],
    [withRooms({ ...body(), ...where }, '9223372036854775808'), /below 2\^63/],
    [withRooms({ ...body(), ...where }, '1.5'), /whole number/],
    [withRooms({ ...body(), ...where }, '"7"'), /bootstrap_room/],
  ]
  for (const [text, message, path] of bad) {
    for (const answer of await both(pair, text, path)) {
      t.is(answer.status, 400, text.slice(-120))
      t.regex(answer.message, message)
      t.like(answer.json, { object: 'error', code: 400 })
    }
  }
  const hostless = await send(pair.decode, withRooms(body(), room()))
  t.is(hostless.status, 400)
  t.regex(hostless.message, /bootstrap_host/)
  t.true(isClean(pair.prefill) && isClean(pair.decode))
})

test('a room is used once: while it is in use, and ever after', async t => {
  const pair = await pairFor(t, 'sglang')
  const text = withRooms({ ...body(), ...bootstrap(pair) }, room())
  const first = send(pair.prefill, text)
  await until(() => pair.prefill.stats().waiting === 1)
  const taken = await send(pair.prefill, text)
  t.is(taken.status, 400)
  t.regex(taken.message, /in use/)
  t.is((await send(pair.decode, text)).status, 200)
  t.is((await first).status, 200)
  const [prefill, decode] = await both(pair, text)
  t.is(prefill?.status, 400)
  t.is(decode?.status, 500)
  t.regex(String(decode?.message), /was used before/)
})

test('legs in different rooms never meet; each fails after its own time', async t => {
  const pair = await pairFor(t, 'sglang', { kvTimeout: 0.2 })
  const request = { ...body(), ...bootstrap(pair) }
  const [prefill, decode] = await Promise.all([
    send(pair.prefill, withRooms(request, room())),
    send(pair.decode, withRooms(request, room())),
  ])
  t.is(prefill.status, 500)
  t.regex(prefill.message, /timed out after 0.2s in KVPoll.Bootstrapping/)
  t.is(decode.status, 500)
  t.regex(decode.message, /did not come within 0.2 s/)
  await until(() => isClean(pair.prefill) && isClean(pair.decode))
})

test('a room whose legs have different prompts is refused', async t => {
  const pair = await pairFor(t, 'sglang')
  const request = { ...body(), ...bootstrap(pair) }
  const mixed = room()
  const [, other] = await Promise.all([
    send(pair.prefill, withRooms(request, mixed)),
    send(pair.decode, withRooms({ ...body(), ...bootstrap(pair) }, mixed)),
  ])
  t.is(other.status, 500)
  t.regex(other.message, /another prompt/)
  t.like(pair.prefill.handOffs(), { pulled: 0 })
  t.is(pair.decode.stats().finished, 0)
})

test('a stream that fails before its first token has the error’s status; a port of null is the decode’s own', async t => {
  const hasty = await pairFor(t, 'sglang', { kvTimeout: 0.2 })
  const streamed = body({ stream: true })
  const lonely = withRooms({ ...streamed, ...bootstrap(hasty) }, room())
  t.is((await post(hasty.decode, CHAT, lonely)).status, 500)
  const pair = await pairFor(t, 'sglang')
  const request = { ...streamed, ...bootstrap(pair) }
  const other = await pairFor(t, 'sglang', {}, { decode: { kvPort: pair.prefill.kvAddress?.port } })
  const text = withRooms({ ...request, bootstrap_port: null }, room())
  const [prefill, decode] = await Promise.all([
    post(pair.prefill, CHAT, text),
    post(other.decode, CHAT, text),
  ])
  t.is(prefill.status, 200)
  t.is(decode.status, 200)
  t.is(events(await decode.text()).at(-1), '[DONE]')
  await prefill.text()
})

test('the abort of either leg ends the other', async t => {
  const pair = await pairFor(t, 'sglang', {}, { prefill: { speed: 0.2 } })
  for (const leaving of ['prefill', 'decode'] as const) {
    const text = withRooms({ ...body({ max_tokens: 400, ignore_eos: true }), ...bootstrap(pair) }, room())
    const away = new AbortController()
    const staying = leaving === 'prefill' ? pair.decode : pair.prefill
    const gone = fetch(`${pair[leaving].url}${CHAT}`, { method: 'POST', body: text, signal: away.signal })
    const patient = new AbortController()
    const other = fetch(`${staying.url}${CHAT}`, { method: 'POST', body: text, signal: patient.signal })
    await until(() => pair.prefill.stats().running === 1 && pair.decode.stats().waiting === 1)
    away.abort()
    await t.throwsAsync(gone, { any: true })
    t.is((await other).status, 500, `${leaving} leaves`)
  }
  await until(() => isClean(pair.prefill) && isClean(pair.decode))
})

test('the metrics page has SGLang’s queues', async t => {
  const pair = await pairFor(t, 'sglang')
  const text = withRooms({ ...body(), ...bootstrap(pair) }, room())
  const page = async (engine: Pair['prefill']): Promise<string> =>
    (await fetch(`${engine.url}/metrics`)).text()
  const prefilling = send(pair.prefill, text)
  await until(() => pair.prefill.stats().waiting === 1)
  t.regex(await page(pair.prefill), /num_prefill_bootstrap_queue_reqs\{.*engine_type="prefill".*\} 1\.0/)
  await Promise.all([prefilling, send(pair.decode, text)])
  await until(() => isClean(pair.prefill))
  t.regex(await page(pair.prefill), /num_prefill_bootstrap_queue_reqs\{.*\} 0\.0/)
  t.regex(await page(pair.decode), /num_decode_transfer_queue_reqs\{.*engine_type="decode".*\} 0\.0/)
})
