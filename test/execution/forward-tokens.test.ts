/** Completions sent as token ids: only where nothing but the prompt's form changes, and never unchecked for long. */
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { USAGE } from '#phyllo/data/native.js'
import { TokenForwarding } from '#phyllo/data/token-forwarding.js'
import { jsonArray } from '#phyllo/execution/forward-tokens.js'
import {
  answerWith,
  assertClean,
  type Given,
  type Pod,
  RecordingSink,
  startPod,
  startWorker,
  type Worker,
} from './kit.js'

const ids = Uint32Array.of(785, 0, 151_645)
const asIds = '[785,0,151645]'
const answer = JSON.stringify({ choices: [{ text: 'leaf' }], usage: { prompt_tokens: 3 } })

interface Forwarding {
  readonly worker: Worker
  readonly pod: Pod
  /** Sends a completion; answers the body that the pod got. */
  send(body: string, given?: Given): Promise<string>
}

async function forwarding(t: ExecutionContext): Promise<Forwarding> {
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, answer)))
  const worker = startWorker(t, [pod.origin])
  worker.lane.ids = ids
  worker.lane.promptTokens = 3
  const model = new TokenForwarding(false)
  const send: Forwarding['send'] = async (body, given = {}) => {
    await worker.run(new RecordingSink(), {
      kind: 'completions',
      ticket: 3,
      body,
      forwarding: model,
      ...given,
    })
    return pod.requests.at(-1)?.body.toString() ?? ''
  }
  // The first goes as text in any case.
  const first = '{"prompt":"a"}'
  t.is(await send(first), first)
  return { worker, pod, send }
}

const forwarded: readonly [body: string, sent: string][] = [
  ['{"prompt":"a leaf"}', `{"prompt":${asIds}}`],
  [
    '{ "model" : "m" , "prompt" : "a \\"leaf\\"\\n" , "x" : [ 1.50 ] }',
    `{ "model" : "m" , "prompt" : ${asIds} , "x" : [ 1.50 ] }`,
  ],
  ['{"prompt":"a","add_special_tokens":true}', `{"prompt":${asIds},"add_special_tokens":true}`],
  ['{"prompt":"\\u4e2d\\u6587"}', `{"prompt":${asIds}}`],
  ['{"prompt":"中文","stop":["\\n\\n"]}', `{"prompt":${asIds},"stop":["\\n\\n"]}`],
  ['{"prompt":"a \\ud83c\\udf3f","seed":7}', `{"prompt":${asIds},"seed":7}`],
  // The fields that forbid it are named in the prompt only.
  ['{"prompt":"\\"echo\\":true, \\"suffix\\""}', `{"prompt":${asIds}}`],
]

test('the prompt is sent as ids, and all other bytes as they came', async t => {
  const { worker, send } = await forwarding(t)
  for (const [body, sent] of forwarded) t.is(await send(body), sent)
  await assertClean(t, worker)
})

const asTheyCame: readonly string[] = [
  '{"prompt":"a","echo":true}',
  '{"echo" : true,"prompt":"a"}',
  '{"prompt":"a","\\u0065cho":true}',
  '{"prompt":"a","suffix":"b"}',
  '{"prompt":"a","prompt_embeds":"AAAA"}',
  '{"prompt":"a","truncate_prompt_tokens":5}',
  '{"prompt":"a","return_token_offsets":true}',
  '{"prompt":"a","add_special_tokens":false}',
  '{"prompt":"a","add_special_tokens":1}',
  '{"prompt":"a","add_special_tokens":"true"}',
  '{"prompt":"a","session_params":{"id":"s"}}',
  '{"prompt":["a"]}',
  '{"prompt":[1,2]}',
  '{"prompt":[[1,2]]}',
  '{"prompt":""}',
  '{"prompt":" \\n\\t "}',
  '{"prompt":"\\u0020\\n"}',
  '{"prompt":"half \\ud83c of one"}',
  '{"prompt":"half \\uDF3F of one"}',
  '{"model":"m"}',
]

test('what needs the text goes as it came', async t => {
  const { worker, send } = await forwarding(t)
  for (const body of asTheyCame) t.is(await send(body), body)
  const plain = '{"prompt":"a leaf"}'
  for (const kind of ['chat', 'responses', 'embeddings', 'other'] as const)
    t.is(await send(plain, { kind }), plain)
  const off = await startPod(t, ({ socket }) => void socket.write(answerWith(200, answer)))
  const without = startWorker(t, [off.origin])
  without.lane.ids = ids
  await without.run(new RecordingSink(), { kind: 'completions', ticket: 3, body: plain })
  t.is(off.requests[0]?.body.toString(), plain, 'the model’s configuration does not say so')
  worker.lane.exact = false
  t.is(await send(plain), plain, 'the count is an estimate')
  worker.lane.exact = true
  worker.lane.ids = new Uint32Array()
  t.is(await send(plain), plain, 'there are no tokens')
  await assertClean(t, worker)
})

test('a pod with files of its own gets the text', async t => {
  const { worker, send } = await forwarding(t)
  const plain = '{"prompt":"a leaf"}'
  worker.pods.update(
    2,
    worker.infos.map(pod => ({ ...pod, models: ['m'], variant: 'm-next' })),
  )
  t.is(await send(plain), plain)
  worker.pods.update(3, worker.infos)
  t.is(await send(plain), `{"prompt":${asIds}}`)
  await assertClean(t, worker)
})

test('an engine that counts otherwise gets texts until it agrees again; ids it only echoes', async t => {
  const { worker, send } = await forwarding(t)
  const [text, sent] = ['{"prompt":"a leaf"}', `{"prompt":${asIds}}`]
  const checks = () => worker.lane.usages.length
  worker.lane.usageResult = USAGE.differs
  const before = checks()
  let texts = 0
  for (let i = 0; i < 64; i++) {
    const got = await send(text)
    if (got === text) texts++
    t.is(checks() - before, texts, 'only what went as text is compared')
    if (texts > 0) break
    t.is(got, sent)
  }
  t.is(texts, 1, 'one in 64 goes as text')
  for (let i = 0; i < 5; i++) t.is(await send(text), text)
  worker.lane.usageResult = USAGE.agrees
  t.is(await send(text), text)
  t.is(await send(text), sent)
  t.is(worker.checks.at(-1)?.result, undefined)
  await assertClean(t, worker)
})

test('a retry goes as ids too, and a pod that refuses them is answered for like any other', async t => {
  const bad = await startPod(t, ({ socket }) => void socket.write(answerWith(500, '')))
  const good = await startPod(t, ({ socket }) => void socket.write(answerWith(200, answer)))
  const worker = startWorker(t, [bad.origin, good.origin])
  worker.lane.ids = ids
  const model = new TokenForwarding(false)
  const given: Given = { kind: 'completions', ticket: 3, body: '{"prompt":"a","seed":1}', forwarding: model }
  await worker.run(new RecordingSink(), given)
  // The first attempt was the one that goes as text; whichever form, each pod got a whole request.
  t.deepEqual(
    [bad, good].map(pod => pod.requests[0]?.body.toString()),
    ['{"prompt":"a","seed":1}', `{"prompt":${asIds},"seed":1}`],
  )
  await assertClean(t, worker)
})

test('property: a list of ids is the JSON of it', t => {
  fc.assert(
    fc.property(fc.uint32Array({ maxLength: 50 }), numbers => {
      t.is(jsonArray(numbers).toString(), JSON.stringify(Array.from(numbers)))
    }),
    { numRuns: 1000 },
  )
  t.is(
    jsonArray(Uint32Array.of(9, 10, 99, 100, 999_999_999, 1_000_000_000, 4_294_967_295)).toString(),
    '[9,10,99,100,999999999,1000000000,4294967295]',
  )
})

test('property: any body with one text differs in the prompt alone', async t => {
  const { worker, send } = await forwarding(t)
  const plainText = fc.string({ unit: 'grapheme', minLength: 1 }).filter(text => text.trim() !== '')
  const value = fc.oneof(
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.constantFrom('a', '"', 'é')),
  )
  const fields = fc.dictionary(fc.constantFrom('model', 'max_tokens', 'stop', 'x', 'seed'), value)
  let sentAsIds = 0
  await fc.assert(
    fc.asyncProperty(plainText, fields, fc.boolean(), async (prompt, more, first) => {
      const body = JSON.stringify(first ? { prompt, ...more } : { ...more, prompt })
      const sent = await send(body)
      if (sent === body) return
      sentAsIds++
      const text = JSON.stringify(prompt)
      t.is(
        sent,
        body.replace(`"prompt":${text}`, () => `"prompt":${asIds}`),
      )
    }),
    { numRuns: 200 },
  )
  t.true(sentAsIds > 150, `${sentAsIds} went as ids`)
  await assertClean(t, worker)
})
