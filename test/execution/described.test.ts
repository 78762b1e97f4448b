/** Workflows of the configuration file: the same on the wire as those that ship, and as told by their fields. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { loadConfig } from '#phyllo/config/load.js'
import { BOOK } from '#phyllo/data/native.js'
import type { KvTransfer, PodRole } from '#phyllo/data/pod-role.js'
import type { Workflow } from '#phyllo/execution/workflow.js'
import { type DescribedWorkflows, describedWorkflow } from '#phyllo/execution/workflows/described/schema.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import { formatIssues } from '#phyllo/index.js'
import { answerWith, assertClean, inOrder, type Pod, RecordingSink, startPod, startWorker } from './kit.js'

const folder = fileURLToPath(new URL('../../../examples/workflows/', import.meta.url))

function example(file: string): DescribedWorkflows {
  const loaded = loadConfig(`${folder}${file}`)
  if (!loaded.ok) throw new Error(formatIssues(loaded.issues))
  return loaded.config.workflows ?? {}
}
const named = (file: string, name: string): Workflow => workflowFor({ name, options: {} }, example(file))
const described = (workflow: unknown): Workflow =>
  workflowFor({ name: 'own', options: {} }, { own: describedWorkflow.parse(workflow) })

type T = Parameters<typeof startPod>[0]
const params =
  '{"do_remote_prefill":true,"remote_engine_id":"p","remote_block_ids":[[1,2]],"remote_host":"127.0.0.1",' +
  '"remote_port":5600,"big":12345678901234567890, "odd" : 1e400}'

/** A prefill and a decode pod, whose answers any of the workflows takes. */
async function pair(t: T, kvTransfer?: KvTransfer, roles: readonly PodRole[] = ['prefill', 'decode']) {
  const prefill = await startPod(t, ({ socket }) =>
    socket.write(answerWith(200, `{"kv_transfer_params":${params}}`)),
  )
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles, ...(kvTransfer && { kvTransfer }) })
  worker.lane.uncached = 300
  return { prefill, decode, worker }
}

/** What a pod was sent, but for what is drawn anew each time and the connection. */
const seen = (pod: Pod): string[] =>
  pod.requests.map(({ head, body }) =>
    `${head.replace(/host: \S+\r\n/i, '').replace(/content-length: \d+/, '')}\n${body}`.replace(
      /"bootstrap_room":(\d+|\[[\d,]*\])/g,
      '"bootstrap_room":…',
    ),
  )

const bodies = [
  '{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"hi"}],"unknown":1e400}',
  '{"stream":true,"stream_options":{"include_usage":true},"model":"m","messages":[],"max_completion_tokens":5,"min_tokens":3}',
  '{ "model" : "m", "kv_transfer_params":{"remote_host":"evil"}, "bootstrap_room":1,"messages":[] }',
]
/** A chat, or a completion of several prompts. */
const kindOf = (body: string) => (body.includes('"prompt"') ? 'completions' : 'chat')

/** `other`: a request that takes another way, which is the same for both. */
async function sameOnTheWire(
  t: T,
  own: Workflow,
  shipped: Workflow,
  kvTransfer: KvTransfer,
  other: string,
): Promise<void> {
  const { prefill, decode, worker } = await pair(t, kvTransfer)
  for (const body of [...bodies, other]) {
    for (const uncached of [10, 300]) {
      worker.lane.uncached = uncached
      const sent: string[][][] = []
      for (const workflow of [own, shipped]) {
        prefill.requests.length = 0
        decode.requests.length = 0
        const sink = new RecordingSink()
        await worker.run(sink, {
          body,
          kind: kindOf(body),
          ticket: 1,
          workflow,
          headers: ['authorization', 'k', 'x-override-rid', '1'],
        })
        t.is(sink.text, '{"text":"hi"}')
        sent.push([seen(prefill), seen(decode)])
      }
      t.deepEqual(sent[0], sent[1], body)
    }
  }
  await assertClean(t, worker)
}

test('vllm-nixl written in YAML is the built-in one on the wire, byte for byte', async t => {
  const shipped = workflowFor({ name: 'prefill-decode/vllm-nixl', options: {} })
  const kvTransfer = { connector: 'nixl', bootstrapPort: 8998 } as const
  const several = '{"model":"m","messages":[],"n":2}'
  await sameOnTheWire(t, named('nixl.yaml', 'my-nixl'), shipped, kvTransfer, several)
})

test('sglang written in YAML is the built-in one on the wire, but for batches, which fall back to it', async t => {
  const shipped = workflowFor({ name: 'prefill-decode/sglang', options: {} })
  const kvTransfer = { connector: 'sglang', bootstrapPort: 9001 } as const
  const batch = '{"model":"m","prompt":["a","b"]}'
  await sameOnTheWire(t, named('sglang.yaml', 'my-sglang'), shipped, kvTransfer, batch)
  const { prefill, decode, worker } = await pair(t, { connector: 'sglang', bootstrapPort: 9001 })
  await worker.run(new RecordingSink(), {
    body: bodies[0] ?? '',
    workflow: named('sglang.yaml', 'my-sglang'),
  })
  const room = /"bootstrap_room":(\d+)/
  t.truthy(room.exec(`${prefill.requests[0]?.body}`)?.[1])
  t.is(room.exec(`${prefill.requests[0]?.body}`)?.[1], room.exec(`${decode.requests[0]?.body}`)?.[1])
  await assertClean(t, worker)
})

test('a kept value that is too long for a header is its pod’s fault; in a body it may be as long as it likes', async t => {
  let receipt = ''
  const bad = await startPod(t, ({ socket }) => socket.write(answerWith(200, `{"receipt":${receipt}}`)))
  const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"receipt":"short"}')))
  const last = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const roles = ['prefill', 'prefill', 'decode'] as const
  const step = { role: 'prefill', keep: { receipt: '/receipt' }, attempts: 2 } as const
  const from = { from: 'a.receipt' }
  const workflow = described({
    steps: [
      { name: 'a', ...step },
      { name: 'b', role: 'decode', request: { headers: { 'x-receipt': from }, set: { receipt: from } } },
    ],
  })
  const bodyOnly = described({
    steps: [
      { name: 'a', ...step },
      { name: 'b', role: 'decode', request: { set: { receipt: from } } },
    ],
  })
  const worker = startWorker(t, [bad.origin, good.origin, last.origin], { roles: [...roles] })
  const sent = () => last.requests.at(-1)
  const run = async (given: Workflow) => {
    const sink = new RecordingSink()
    await worker.run(sink, { body: '{"model":"m"}', workflow: given })
    await assertClean(t, worker)
    return sink
  }
  // A character beyond ASCII takes six in a header.
  for (const [text, fits] of [
    [`"${'a'.repeat(8192)}"`, true],
    [`"${'a'.repeat(8193)}"`, false],
    [`"${'à'.repeat(1365)}"`, true],
    [`"${'à'.repeat(1366)}"`, false],
    [`[${'1,'.repeat(100_000)}1]`, false],
  ] as const) {
    receipt = text
    t.is((await run(workflow)).status, 200)
    t.is(/x-receipt: short/.test(sent()?.head ?? ''), !fits, text.slice(0, 20))
    t.is((await run(bodyOnly)).status, 200)
    t.is(`${sent()?.body}`, `{"model":"m","receipt":${text}}`)
  }
  const alone = startWorker(t, [bad.origin, last.origin], { roles: ['prefill', 'decode'] })
  const sink = new RecordingSink()
  await alone.run(sink, { body: '{"model":"m"}', workflow })
  t.is(sink.status, 502)
  t.regex(
    sink.text,
    /step 'a': its answer's receipt has 200003 characters as a header, and 8192 are the most/,
  )
  await assertClean(t, alone)
})

test('every example is a file that the router starts with', t => {
  const files = readdirSync(folder)
  t.true(files.length >= 3)
  for (const file of files) {
    const workflows = example(file)
    for (const name of Object.keys(workflows))
      t.notThrows(() => workflowFor({ name, options: {} }, workflows))
  }
})

test('own-engine: ids, pods that come later, kept values in headers, and a first step that may fail', async t => {
  const workflow = named('own-engine.yaml', 'push')
  let receipt = '{"receipt": {"à":\n 1}}'
  const warm = await startPod(t, ({ socket }) =>
    socket.write(answerWith(receipt === '' ? 500 : 200, receipt)),
  )
  const answer = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const labels = [{ pool: 'warm' }, { pool: 'answer' }]
  const worker = startWorker(t, [warm.origin, answer.origin], { roles: ['both', 'both'], labels })
  const header = (pod: Pod, name: string) =>
    new RegExp(`${name}: ([^\\r\\n]*)`).exec(pod.requests.at(-1)?.head ?? '')?.[1]
  const run = async () => {
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { body: bodies[0] ?? '', workflow }), { status: 200 })
    t.is(sink.text, '{"text":"hi"}')
    await assertClean(t, worker)
  }
  await run()
  t.is(header(warm, 'x-push-to'), answer.origin)
  t.regex(header(warm, 'x-transfer-id') ?? '', /^[0-9a-f]{32}$/)
  t.is(header(warm, 'x-transfer-id'), header(answer, 'x-transfer-id'))
  t.is(header(answer, 'x-receipt'), '{"\\u00e0":  1}')
  t.like(JSON.parse(`${warm.requests[0]?.body}`), { max_tokens: 1, stream: false })
  for (const bad of ['', '{"receipt":null}', '<html>']) {
    receipt = bad
    await run()
    t.is(header(answer, 'x-receipt'), undefined)
  }
})

test('any JSON is set as it is, and what is kept goes on byte for byte', async t => {
  const values = fc.record({
    literal: fc.jsonValue(),
    kept: fc.json(),
    text: fc.string(),
    flag: fc.boolean(),
  })
  let answer = ''
  const first = await startPod(t, ({ socket }) => socket.write(answerWith(200, answer)))
  const second = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [first.origin, second.origin], { roles: ['prefill', 'decode'] })
  await fc.assert(
    fc.asyncProperty(values, async ({ literal, kept, text, flag }) => {
      const workflow = described({
        steps: [
          { name: 'a', role: 'prefill', keep: { it: '/it' } },
          {
            name: 'b',
            role: 'decode',
            request: {
              set: { literal: { value: literal }, text, flag, kept: { from: 'a.it' } },
              drop: ['gone'],
            },
          },
        ],
      })
      answer = `{"other":[${kept}],"it": ${kept} }`
      const sink = new RecordingSink()
      await worker.run(sink, { body: '{"model":"m","gone":1,"big":12345678901234567890}', workflow })
      const isNull = kept.trim() === 'null'
      t.is(sink.status, isNull ? 502 : 200, answer)
      if (isNull) return
      const said = `"literal":${JSON.stringify(literal)},"text":${JSON.stringify(text)},"flag":${flag},"kept":${kept}`
      t.is(`${second.requests.at(-1)?.body}`, `{"model":"m","big":12345678901234567890,${said}}`)
    }),
    { numRuns: 50 },
  )
  await assertClean(t, worker)
})

test('another model’s step names it in its body, and takes pods of its own', async t => {
  const small = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const large = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [small.origin, large.origin], { models: [['small'], ['m']] })
  const workflow = described({
    steps: [{ name: 'a', model: 'small', request: { noStream: true } }, { name: 'b' }],
  })
  const body = '{"model":"m","stream":true,"stream_options":{}}'
  t.like(await worker.run(new RecordingSink(), { body, workflow }), { status: 200 })
  t.is(`${small.requests[0]?.body}`, '{"model":"small","stream":false}')
  t.is(`${large.requests[0]?.body}`, body)
  await assertClean(t, worker)
})

test('what goes on from a response was once sent to pods of other roles than the one that holds it', async t => {
  const pods = await Promise.all(
    [1, 2, 3].map(() => startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))),
  )
  const roles = ['prefill', 'decode', 'mixed'] as const
  const worker = startWorker(
    t,
    pods.map(({ origin }) => origin),
    { roles },
  )
  const workflow = described({
    steps: [
      { name: 'a', role: 'prefill' },
      { name: 'b', role: 'decode' },
    ],
  })
  // Its own pods are then the one that holds the response; here, those that serve whole requests.
  for (const [pinnedTo, counts] of [
    ['', [1, 1, 0]],
    ['resp_1', [1, 2, 0]],
  ] as const) {
    t.like(await worker.run(new RecordingSink(), { workflow, pinnedTo }), { status: 200 })
    t.deepEqual(
      pods.map(({ requests }) => requests.length),
      [...counts],
    )
  }
  await assertClean(t, worker)
})

test('fields below the top level are set and dropped in what the client sent, never in what it may not say', async t => {
  const first = await startPod(t, ({ socket }) =>
    socket.write(answerWith(200, '{"choices":[{"message":{"content": "kept \\u00e0"}}]}')),
  )
  const second = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [first.origin, second.origin], { roles: ['prefill', 'decode'] })
  const workflow = described({
    steps: [
      {
        name: 'a',
        role: 'prefill',
        request: {
          set: { '/kv_transfer_params/mine': true, '/x/y': { generate: 'uuid' } },
          drop: ['/stream_options/include_usage'],
        },
        keep: { said: '/choices/0/message/content' },
      },
      { name: 'b', role: 'decode', request: { set: { '/metadata/draft/text': { from: 'a.said' } } } },
    ],
  })
  const body =
    '{"model":"m","kv_transfer_params":{"remote_host":"evil"},"stream_options":{"include_usage":true,"big":1e400},"metadata":{"id":12345678901234567890}}'
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { body, workflow }), { status: 200 })
  t.regex(
    `${first.requests[0]?.body}`,
    /^\{"model":"m","stream_options":\{"big":1e400\},"metadata":\{"id":12345678901234567890\},"kv_transfer_params":\{"mine":true\},"x":\{"y":"[0-9a-f]{32}"\}\}$/,
  )
  t.is(
    `${second.requests[0]?.body}`,
    '{"model":"m","stream_options":{"include_usage":true,"big":1e400},"metadata":{"id":12345678901234567890,"draft":{"text":"kept \\u00e0"}}}',
  )
  const bad = new RecordingSink()
  t.like(await worker.run(bad, { body: '{"model":"m","metadata":7}', workflow }), { status: 400 })
  t.regex(bad.text, /the field 'metadata' must be an object/)
  await assertClean(t, worker)
})

test('the short way of a choice is picked again like the built-in one, so that its prompt is expected in the cache', async t => {
  const flagsOf = async (workflow: Workflow) => {
    const { worker } = await pair(t)
    worker.lane.uncached = 10
    const flags: number[] = []
    const { book } = worker.lane
    worker.lane.book = (ticket, wanted, bound, given, out) => {
      flags.push(given)
      return book.call(worker.lane, ticket, wanted, bound, given, out)
    }
    const profile = { ...inOrder, bookFlags: BOOK.learnPrefix }
    t.like(await worker.run(new RecordingSink(), { body: bodies[0] ?? '', ticket: 1, workflow, profile }), {
      status: 200,
    })
    await assertClean(t, worker)
    return flags
  }
  const shipped = await flagsOf(workflowFor({ name: 'prefill-decode/vllm-nixl', options: {} }))
  t.deepEqual(shipped, [0, BOOK.learnPrefix])
  t.deepEqual(await flagsOf(named('nixl.yaml', 'my-nixl')), shipped)
})

test('a step of the file may be hedged', async t => {
  let isSilent = false
  const first = await startPod(t, ({ socket }) => {
    if (!isSilent) socket.write(answerWith(200, '{"from":"first"}'))
  })
  const second = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"from":"second"}')))
  const worker = startWorker(t, [first.origin, second.origin])
  const workflow = described({ steps: [{ name: 'serve', hedge: { minWaitMs: 30, budget: 1 } }] })
  const body = '{"model":"m","stream":true}'
  for (let i = 0; i < 64; i++) await worker.run(new RecordingSink(), { body, workflow })
  isSilent = true
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { body, workflow }), { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"from":"second"}')
  t.deepEqual(worker.hedges, ['sent', 'won'])
  await assertClean(t, worker)
})

test('a batch that no fallback serves is refused where each prompt would need a room, and sent nowhere', async t => {
  const { prefill, decode, worker } = await pair(t, { connector: 'sglang', bootstrapPort: 9001 })
  const room = { set: { bootstrap_room: { generate: 'room' } } } as const
  const workflow = described({
    steps: [
      {
        together: [
          { name: 'prefill', role: 'prefill', output: 'drain', request: room },
          { name: 'decode', role: 'decode', output: 'relay', request: room },
        ],
      },
    ],
  })
  const sink = new RecordingSink()
  const asked = { body: '{"model":"m","prompt":["a","b"]}', kind: 'completions', workflow } as const
  t.like(await worker.run(sink, asked), { status: 400 })
  t.regex(sink.text, /a batch needs a room for each prompt\), and no pod serves whole requests of 'm'/)
  t.deepEqual([prefill.requests.length, decode.requests.length], [0, 0])
  await assertClean(t, worker)
})
