/** Chats with images over the real router and simulated encode, prefill and decode engines, faults included. */
import test, { type ExecutionContext } from 'ava'
import { stringify } from 'yaml'
import { type RunningEngine, startEngine } from '#phyllo/simulation/engine/http.js'
import { isClean } from '../../simulation/hand-off/kit.js'
import { type TestRouter, until } from '../router-kit.js'
import { ask, contentOf, said } from './ask.js'
import { prompt, startFrom } from './kit.js'
import { afflict, DEADLINE_MS, deadlines, type FaultName, faultNames } from './matrix.js'

interface EncodeFleet {
  readonly router: TestRouter
  /** The first is picked first. */
  readonly encode: readonly [RunningEngine, RunningEngine]
  readonly prefill: RunningEngine
  readonly decode: RunningEngine
  /** The same model, without the router. */
  readonly alone: RunningEngine
  close(): Promise<void>
}

const step = {
  filter: ['healthy', 'circuit-closed'],
  score: [{ 'label-match': { label: 'turn', value: 'first' } }],
  pick: 'max-score',
  execute: 'single',
}

/** `encodes`: the prefill engine could encode as well. */
async function startEncodeFleet(encodes: boolean): Promise<EncodeFleet> {
  const shared = { port: 0, model: 'tiny', speed: 500, listen: 'node', encodeMs: 20 } as const
  const kv = { kvConnector: 'nixl', kvPort: 0, kvTimeout: 3 } as const
  const encode = [
    await startEngine({ ...shared, role: 'encode', kvPort: 0, seed: 1 }),
    await startEngine({ ...shared, role: 'encode', kvPort: 0, seed: 2 }),
  ] as const
  const prefill = await startEngine({ ...shared, ...kv, role: 'prefill', encodes, seed: 3 })
  const decode = await startEngine({ ...shared, ...kv, role: 'decode', seed: 4 })
  const alone = await startEngine({ ...shared, seed: 5 })
  const options = { threshold: 0, encode: 'first', encodeTimeoutMs: DEADLINE_MS, ...deadlines }
  const router = await startFrom(
    stringify({
      plugins: ['label-match.mjs'],
      listen: { host: '127.0.0.1', port: 0, workers: 1, engine: 'node' },
      admin: { port: 0 },
      log: { level: 'silent' },
      health: { intervalMs: 100, unhealthyAfter: 100 },
      breaker: { failures: 1000, latencyFactor: 0 },
      upstream: { keepAliveMs: 500 },
      scrape: { intervalMs: 0 },
      timeouts: { idleMs: 2_000 },
      profiles: {
        first: step,
        split: {
          ...step,
          prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
          execute: { 'encode-prefill-decode': options },
        },
      },
      defaults: { profile: 'split' },
      pods: [
        { id: 'encode-0', url: encode[0].url, role: 'encode', labels: { turn: 'first' } },
        { id: 'encode-1', url: encode[1].url, role: 'encode', labels: { turn: 'second' } },
        { id: 'prefill-0', url: prefill.url, role: 'prefill', kvTransfer: { connector: 'nixl' } },
        { id: 'decode-0', url: decode.url, role: 'decode', kvTransfer: { connector: 'nixl' } },
      ],
    }),
  )
  await until(
    async () => (await router.pods()).every(pod => pod.healthy === true && pod.models.length > 0),
    'all are up',
  )
  return {
    router,
    encode,
    prefill,
    decode,
    alone,
    async close() {
      await router.close()
      await Promise.all([...encode, prefill, decode, alone].map(each => each.close()))
    },
  }
}

function sharedFleet(encodes: boolean): () => Promise<EncodeFleet> {
  let started: Promise<EncodeFleet> | undefined
  test.after.always(async () => (await started)?.close())
  return () => {
    started ??= startEncodeFleet(encodes)
    return started
  }
}
const fleetThatEncodes = sharedFleet(true)
const bareFleet = sharedFleet(false)

let images = 0
/** A chat with two images that no engine has seen. */
const chat = (fields: object = {}): Record<string, unknown> => {
  const image = () => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${images++}` } })
  return {
    model: 'tiny',
    messages: [{ role: 'user', content: [{ type: 'text', text: prompt() }, image(), image()] }],
    max_tokens: 8,
    temperature: 0,
    ...fields,
  }
}

const enginesOf = ({ encode, prefill, decode }: EncodeFleet) => [...encode, prefill, decode]
/** Nothing of any request is left: no booking, no sequence, no blocks. */
async function settled(fleet: EncodeFleet): Promise<void> {
  await until(async () => {
    const pods = await fleet.router.pods()
    const isIdle = pods.every(pod => pod.inflight + pod.pendingTokens + pod.activeTokens === 0)
    return isIdle && enginesOf(fleet).every(isClean)
  }, 'nothing is left')
}

/** How many there were since the last look. */
function counter(engine: RunningEngine, name: 'made' | 'pulled' | 'received') {
  const before = engine.handOffs()[name]
  return () => engine.handOffs()[name] - before
}

for (const stream of [false, true]) {
  test.serial(
    `encode, prefill, decode, ${stream ? 'streamed' : 'whole'}: the text is that of one engine alone`,
    async t => {
      const fleet = await bareFleet()
      const { router, encode, prefill, decode, alone } = fleet
      const counts = {
        made: counter(encode[0], 'made'),
        pulled: counter(encode[0], 'pulled'),
        embeddings: counter(prefill, 'received'),
        prompts: counter(decode, 'received'),
      }
      const body = chat({ stream, ...(stream && { stream_options: { include_usage: true } }) })
      const one = await said(alone.url, body)
      const all = await said(router.url, body)
      t.deepEqual(all.texts, one.texts)
      t.is(all.usage?.prompt_tokens, one.usage?.prompt_tokens)
      t.deepEqual(Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count()])), {
        made: 2,
        pulled: 2,
        embeddings: 2,
        prompts: 1,
      })
      t.deepEqual(
        enginesOf(fleet).map(engine => engine.handOffs().rejected),
        [0, 0, 0, 0],
      )
      await settled(fleet)
    },
  )
}

test.serial('text and what cannot be split go past the encoder', async t => {
  const fleet = await bareFleet()
  const before = fleet.encode.map(engine => engine.requests()['POST /v1/chat/completions'] ?? 0)
  const text = { ...chat(), messages: [{ role: 'user', content: prompt() }] }
  const handed = counter(fleet.decode, 'received')
  t.is((await said(fleet.router.url, text)).status, 200)
  t.is(handed(), 1)
  t.is((await said(fleet.router.url, chat({ n: 2 }))).status, 200)
  t.is(handed(), 1)
  t.deepEqual(
    fleet.encode.map(engine => engine.requests()['POST /v1/chat/completions'] ?? 0),
    before,
  )
  await settled(fleet)
})

/** Whether the other encode pod is tried: not where the first one's answer is one, or blames the request. */
const isRetried = (fault: FaultName): boolean => !['429', 'slow head', 'slow body'].includes(fault)

async function cell(
  t: ExecutionContext,
  fleet: EncodeFleet,
  fault: FaultName,
  stream: boolean,
): Promise<void> {
  const body = chat({ stream })
  const text = (await said(fleet.alone.url, body)).texts[0] ?? ''
  const [first, second] = fleet.encode
  const others = counter(second, 'made')
  const undo = await afflict(first, fault)
  const answer = await ask(fleet.router.url, body)
  await undo()
  t.is(answer.status, 200, answer.text)
  t.is(answer.headers.get('x-phyllo-pod'), 'decode-0')
  t.is(contentOf(answer, stream), text)
  t.is(others(), isRetried(fault) ? 2 : 0)
  await settled(fleet)
}
for (const fault of faultNames) {
  for (const stream of [false, true]) {
    test.serial(
      `an encode pod: ${fault}, ${stream ? 'streamed' : 'whole'}: the client’s answer is whole`,
      async t => cell(t, await fleetThatEncodes(), fault, stream),
    )
  }
}

test.serial('without an encode pod, and with all of them silent, the prefill pod encodes itself', async t => {
  const fleet = await fleetThatEncodes()
  for (const fault of ['connect refused', 'hang'] as const) {
    const undo = await Promise.all(fleet.encode.map(engine => afflict(engine, fault)))
    const fetched = counter(fleet.prefill, 'received')
    const body = chat()
    const answer = await said(fleet.router.url, body)
    t.deepEqual(answer.texts, (await said(fleet.alone.url, body)).texts)
    t.is(fetched(), 0)
    await Promise.all(undo.map(each => each()))
    await settled(fleet)
  }
})

test.serial(
  'what prefill refuses without its embeddings, and any 4xx of prefill and decode, is the client’s unchanged',
  async t => {
    const fleet = await bareFleet()
    const undo = await Promise.all(fleet.encode.map(engine => afflict(engine, 'connect refused')))
    const body = chat()
    const own = await ask(fleet.prefill.url, { ...body, max_tokens: 1 })
    const refused = await ask(fleet.router.url, body)
    await Promise.all(undo.map(each => each()))
    t.is(own.status, 400)
    t.deepEqual([refused.status, refused.text], [400, own.text])
    t.is(refused.headers.get('x-phyllo-pod'), 'prefill-0')
    for (const [engine, pod] of [
      [fleet.prefill, 'prefill-0'],
      [fleet.decode, 'decode-0'],
    ] as const) {
      for (const stream of [false, true]) {
        engine.setFault('error=422')
        const answer = await ask(fleet.router.url, chat({ stream }))
        engine.setFault(null)
        t.deepEqual([answer.status, answer.headers.get('x-phyllo-pod')], [422, pod])
        t.deepEqual(answer.json, {
          error: { message: 'simulated', type: 'InternalServerError', param: null, code: 422 },
        })
      }
    }
    await settled(fleet)
  },
)
