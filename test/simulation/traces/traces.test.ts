/** Each form of trace, as its publishers write it. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { loadNative } from '#phyllo/data/native.js'
import { demoModelDir } from '#phyllo/simulation/demo-run.js'
import { azureWorkload } from '#phyllo/simulation/traces/azure.js'
import { burstGptWorkload } from '#phyllo/simulation/traces/burstgpt.js'
import { linesOf, readTrace, TraceError } from '#phyllo/simulation/traces/lines.js'
import { messagesWorkload } from '#phyllo/simulation/traces/messages.js'
import { mooncakeWorkload } from '#phyllo/simulation/traces/mooncake.js'
import { syntheticSchema, syntheticWorkload } from '#phyllo/simulation/traces/synthetic.js'
import { recordedRate, rescaled, type Workload } from '#phyllo/simulation/virtual/workload.js'

const ALL = Number.POSITIVE_INFINITY
const mooncake = (...lines: object[]): Workload =>
  mooncakeWorkload('m', Buffer.from(lines.map(line => JSON.stringify(line)).join('\n')), ALL)
const entry = (timestamp: number, input_length: number, hash_ids: number[], output_length = 100) => ({
  timestamp,
  input_length,
  output_length,
  hash_ids,
})

test('Mooncake: lengths, times, and equal ids as equal tokens', t => {
  const { requests } = mooncake(entry(0, 1100, [0, 1, 2]), entry(3000, 1024, [0, 1], 0))
  t.deepEqual(
    requests.map(({ atMs, prompt, outputTokens }) => [atMs, prompt.length, outputTokens]),
    [
      [0, 1100, 100],
      [3000, 1024, 1],
    ],
  )
  const [a, b] = requests.map(({ prompt }) => prompt.tokens())
  t.deepEqual(a?.subarray(0, 1024), b?.subarray(0, 1024))
  t.is(a?.length, 1200, 'the answer is behind the prompt')
})

test('Mooncake: who follows whom', t => {
  const { requests } = mooncake(
    entry(0, 1100, [0, 1, 2]),
    entry(1, 1100, [0, 5, 6]),
    // Goes on from the first: its full blocks, another one in place of the partial, and room for the answer.
    entry(2, 1800, [0, 1, 7, 8]),
    // And from that one.
    entry(3, 2300, [0, 1, 7, 9, 10]),
    // Begins like the first, but is too short to hold its answer, too.
    entry(4, 1150, [0, 1, 11]),
    // Shares only what everybody has.
    entry(5, 3000, [0, 12, 13, 14, 15, 16]),
  )
  t.deepEqual(
    requests.map(({ after }) => after),
    [null, null, 0, 2, null, null],
  )
  t.deepEqual(
    requests.map(({ session }) => session),
    ['conversation-0', null, 'conversation-0', 'conversation-0', null, null],
  )
})

test('Mooncake: a request whose last full block was another’s is nobody’s conversation', t => {
  // Two questions on one document: the second one's last full block came with the first.
  const { requests } = mooncake(
    entry(0, 1100, [0, 1, 2]),
    entry(1, 1100, [0, 1, 3]),
    entry(2, 2500, [0, 1, 20, 21, 22]),
  )
  t.is(requests[2]?.after, 0, 'what had the block first is taken')
})

test('Mooncake: faults are told with their line', t => {
  const bad = (text: string) =>
    t.throws(() => mooncakeWorkload('m', Buffer.from(text), ALL), { instanceOf: TraceError })
  t.regex(bad('{}\n')?.message ?? '', /^m:1: .*timestamp/s)
  t.regex(bad(`${JSON.stringify(entry(0, 512, [1]))}\n\n{"a"`)?.message ?? '', /^m:3: no JSON/)
  t.regex(
    bad(JSON.stringify(entry(0, 5000, [1])))?.message ?? '',
    /^m:1: 1 hash_ids for 5000 tokens.* 10 in all/,
  )
})

test('BurstGPT: both releases’ columns; failures are left out; sessions keep their think time', t => {
  const old = burstGptWorkload(
    'b',
    Buffer.from(
      'Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n' +
        '5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n46,GPT-4,9,0,9,API log\n',
    ),
    ALL,
  )
  t.deepEqual(
    old.requests.map(({ atMs, after, prompt, outputTokens }) => [atMs, after, prompt.length, outputTokens]),
    [
      [0, null, 472, 18],
      [40_000, null, 1087, 230],
    ],
  )
  const { requests } = burstGptWorkload(
    'b',
    Buffer.from(
      'Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n' +
        '10,7,2.5,ChatGPT,100,20,120,Conversation log\n11,,1,GPT-4,50,5,55,API log\n' +
        '20,7,4,ChatGPT,200,20,220,Conversation log\n',
    ),
    ALL,
  )
  t.deepEqual(
    requests.map(({ atMs, after, thinkMs, session }) => [atMs, after, thinkMs, session]),
    [
      [0, null, 0, '7'],
      [1000, null, 0, null],
      [0, 0, 7500, '7'],
    ],
  )
})

test('Azure: times to the microsecond, both years’ forms', t => {
  const csv = (...rows: string[]) =>
    Buffer.from(`TIMESTAMP,ContextTokens,GeneratedTokens\r\n${rows.join('\r\n')}\r\n`)
  const { requests } = azureWorkload(
    'a',
    csv('2023-11-16 18:15:46.6805900,374,44', '2023-11-16 18:15:50.9951690,396,109'),
    ALL,
  )
  t.deepEqual(
    requests.map(({ prompt, outputTokens }) => [prompt.length, outputTokens]),
    [
      [374, 44],
      [396, 109],
    ],
  )
  t.true(Math.abs((requests[1]?.atMs ?? 0) - 4314.579) < 1e-3)
  const next = azureWorkload(
    'a',
    csv('2024-05-10 00:00:00.009930+00:00,2162,5', '2024-05-10 00:01:00+00:00,7,5'),
    ALL,
  )
  t.true(Math.abs((next.requests[1]?.atMs ?? 0) - 59_990.07) < 1e-3)
})

test('CSV faults name line and column', t => {
  const message = (of: () => unknown) => t.throws(of, { instanceOf: TraceError })?.message ?? ''
  t.regex(
    message(() => azureWorkload('a', Buffer.from('a,b\n1,2\n'), 9)),
    /^a:1: there is no column 'TIMESTAMP'/,
  )
  const head = 'Timestamp,Request tokens,Response tokens\n'
  t.regex(
    message(() => burstGptWorkload('b', Buffer.from(`${head}1,x,3\n`), 9)),
    /^b:2: 'Request tokens'.*"x"/,
  )
  t.regex(
    message(() => burstGptWorkload('b', Buffer.from(`${head},3,3\n`), 9)),
    /^b:2: 'Timestamp' is no time/,
  )
  const azure = 'TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,3,3\n'
  t.regex(
    message(() => azureWorkload('a', Buffer.from(azure), 9)),
    /^a:2: 'TIMESTAMP' is no time: "yesterday"/,
  )
})

const talk = (...said: [string, string][]) => ({
  id: 'talk',
  messages: said.map(([role, content]) => ({ role, content })),
})
const messages = (lines: object[], rest: object = {}) =>
  messagesWorkload('t', Buffer.from(lines.map(line => JSON.stringify(line)).join('\n')), {
    modelDir: demoModelDir(),
    rate: 2,
    thinkMs: 100,
    seed: 1,
    limit: ALL,
    ...rest,
  })

test('messages: the engine gets the very tokens of the body, and the next prompt goes on from the answer', t => {
  const { requests } = messages([
    talk(
      ['system', 'Be brief.'],
      ['user', 'Hello there'],
      ['assistant', 'Hello, leaf!'],
      ['user', 'And?'],
      ['assistant', 'So.'],
    ),
  ])
  const tokenizer = loadNative().Tokenizer.load(demoModelDir())
  t.is(requests.length, 2)
  const [first, second] = requests.map(({ prompt }) => prompt)
  for (const prompt of [first, second]) {
    const own = prompt?.tokens().subarray(0, prompt.length)
    t.deepEqual(own, tokenizer.encodeChat(prompt?.body('x', 1, null) ?? Buffer.alloc(0)))
  }
  const all = first?.tokens() ?? new Uint32Array(0)
  t.deepEqual(second?.tokens().subarray(0, all.length), all, 'prompt and answer of the first turn')
  t.is(tokenizer.decode(first?.answerTokens() ?? new Uint32Array(0)), 'Hello, leaf!')
  t.deepEqual([requests[0]?.after, requests[1]?.after], [null, 0])
  t.true((requests[1]?.thinkMs ?? 0) > 0)
})

test('messages: copies share the system prompt and nothing else', t => {
  const { requests } = messages(
    [
      talk(
        ['system', 'You are careful and exact, always, in every answer.'],
        ['user', 'Hi'],
        ['assistant', 'Yes'],
      ),
    ],
    { conversations: 3 },
  )
  t.is(new Set(requests.map(({ session }) => session)).size, 3)
  const [a, b, c] = requests.map(({ prompt }) => String(prompt.body('m', 1, null)))
  t.is(new Set([a, b, c]).size, 3)
  t.true(b?.includes('(1) Hi'))
})

test('messages: what has no answer is told', t => {
  const error = t.throws(() => messages([talk(['system', 'a'], ['user', 'b'])]), { instanceOf: TraceError })
  t.regex(error?.message ?? '', /^t:1: no assistant message/)
})

test('synthetic: as many as asked for, prefixes shared within a group, turns that go on from each other', t => {
  const options = syntheticSchema.parse({
    groups: 3,
    prompts: 4,
    turns: 2,
    prefix: 64,
    suffix: 20,
    output: 10,
  })
  const times = { rate: 5, thinkMs: 10, seed: 3, limit: ALL }
  const { requests } = syntheticWorkload(options, times)
  t.is(requests.length, 24)
  const prefixes = new Set(requests.map(({ prompt }) => prompt.tokens().subarray(0, 64).join()))
  t.is(prefixes.size, 3)
  requests.forEach(({ after, prompt }) => {
    if (after === null) return
    const before = requests[after]?.prompt.tokens() ?? new Uint32Array(0)
    t.deepEqual(prompt.tokens().subarray(0, before.length), before)
  })
  t.deepEqual(
    syntheticWorkload(options, times).requests.map(({ atMs }) => atMs),
    requests.map(({ atMs }) => atMs),
  )
})

test('rates: recorded times are scaled, think times are people’s', t => {
  fc.assert(
    fc.property(fc.double({ min: 0.1, max: 50, noNaN: true }), factor => {
      const workload = mooncake(entry(0, 600, [0, 1]), entry(1000, 600, [0, 2]), entry(4000, 600, [0, 3]))
      const scaled = rescaled(workload, factor)
      return Math.abs(recordedRate(scaled) / (recordedRate(workload) * factor) - 1) < 1e-9
    }),
  )
  t.is(recordedRate(mooncake(entry(0, 600, [0, 1]), entry(2000, 600, [0, 2]))), 0.5)
  for (const factor of [0, -1, Number.NaN])
    t.throws(() => rescaled(mooncake(), factor), { instanceOf: RangeError })
})

test('files come plain, gzipped or compressed with zstd; what cannot be read is told by name', t => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-trace-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const text = 'one\n\n two \r\nthree'
  writeFileSync(join(folder, 'plain'), text)
  writeFileSync(join(folder, 'gzip'), gzipSync(text))
  for (const name of ['plain', 'gzip']) {
    t.deepEqual(Array.from(linesOf(readTrace(join(folder, name)))), [
      { number: 1, text: 'one' },
      { number: 3, text: 'two' },
      { number: 4, text: 'three' },
    ])
  }
  const zst = new URL('../../../../bench/data/mooncake_conversation_trace.jsonl.zst', import.meta.url)
    .pathname
  t.is(Array.from(linesOf(readTrace(zst))).length, 12_031)
  t.throws(() => readTrace(join(folder, 'nowhere')), {
    instanceOf: TraceError,
    message: /cannot read .*nowhere/,
  })
})

test('times since 1970 began a run in 1970: the metrics were read once a second for 54 years before the first request', t => {
  const since = 1.7e12
  const content = Buffer.from(
    [entry(since + 500, 100, [1]), entry(since, 100, [2])].map(line => JSON.stringify(line)).join('\n'),
  )
  const { requests } = mooncakeWorkload('m', content, 10)
  t.deepEqual(
    requests.map(({ atMs }) => atMs),
    [0, 500],
  )
})

test('messages with times: `--rate` counted the time before the first one, and follow-ups, which have none, as arrivals at 0', t => {
  const turns = ['user', 'assistant', 'user', 'assistant'].map(role => ({
    role,
    content: `I am the ${role}.`,
  }))
  const lines = [3, 1, 0, 2].map(at => ({ timestamp: 1.7e12 + 1000 * at, messages: turns }))
  const content = Buffer.from(lines.map(line => JSON.stringify(line)).join('\n'))
  const workload = messagesWorkload('m', content, {
    modelDir: demoModelDir(),
    rate: 4,
    thinkMs: 0,
    seed: 1,
    limit: Number.POSITIVE_INFINITY,
  })
  const first = workload.requests.filter(({ after }) => after === null)
  t.deepEqual(
    first.map(({ atMs }) => atMs),
    [3000, 1000, 0, 2000],
  )
  t.is(recordedRate(workload), 7 / 3, 'eight requests in three seconds')
})
