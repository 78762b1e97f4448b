/** Clients that leave or read slowly, pods that go between two steps, answers that take longer than a first byte may. */
import test, { type ExecutionContext } from 'ava'
import { z } from 'zod'
import { events } from '../../simulation/kit.js'
import { sleep, until } from '../router-kit.js'
import { ask, pathOf, said } from './ask.js'
import { type Connector, chat, enginesOf, type Fleet, fleetFor, heal, settled, sharedFleet } from './kit.js'

const nixl = sharedFleet({ connector: 'nixl', engines: { kvTimeout: 3 } })
const sglang = sharedFleet({ connector: 'sglang' })
const mooncake = sharedFleet({ connector: 'mooncake', engines: { kvTimeout: 5 } })
const p2p = sharedFleet({ connector: 'p2p-nccl', engines: { kvTimeout: 5 } })
const fleets: readonly (readonly [Connector, () => Promise<Fleet>])[] = [
  ['nixl', nixl],
  ['sglang', sglang],
  ['mooncake', mooncake],
  ['p2p-nccl', p2p],
]

const faultState = z.looseObject({ hits: z.record(z.string(), z.number()) })

/** Requests that a fault has hit, at any engine. */
async function hits(fleet: Fleet): Promise<number> {
  const answers = await Promise.all(enginesOf(fleet).map(({ url }) => fetch(`${url}/sim/fault`)))
  const states = await Promise.all(answers.map(async answer => faultState.parse(await answer.json())))
  return states.flatMap(state => Object.values(state.hits)).reduce((sum, count) => sum + count, 0)
}

/** A client that sends, and leaves when the request has come to the pod that hangs. */
async function leaves(
  t: ExecutionContext,
  fleet: Fleet,
  fault: string,
  role: 'prefill' | 'decode',
  body: object,
) {
  const before = await hits(fleet)
  for (const engine of fleet[role]) engine.setFault(fault)
  const client = new AbortController()
  const answer = fetch(`${fleet.router.url}${pathOf(body)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: client.signal,
  }).then(response => response.text())
  await until(async () => (await hits(fleet)) > before, 'the request is there')
  await sleep(50)
  client.abort()
  await t.throwsAsync(answer, { any: true })
  await heal(fleet)
  await until(
    async () =>
      (await fleet.router.pods()).every(({ inflight, activeTokens }) => inflight + activeTokens === 0),
    'all load is given back',
  )
  await settled(fleet)
}

for (const [connector, shared] of fleets) {
  for (const stream of [false, true]) {
    const how = stream ? 'streamed' : 'whole'
    test.serial(`${connector}: a client that leaves during the prefill, ${how}`, async t =>
      leaves(t, await shared(), 'hang', 'prefill', chat({ stream })),
    )
    test.serial(`${connector}: a client that leaves before the first token, ${how}`, async t =>
      leaves(t, await shared(), 'hang', 'decode', chat({ stream })),
    )
    test.serial(`${connector}: a client that leaves in the middle of the answer, ${how}`, async t =>
      leaves(t, await shared(), 'stall=2', 'decode', chat({ stream, max_tokens: 24 })),
    )
  }

  test.serial(`${connector}: a decode pod cordoned or removed while the prompt is computed`, async t => {
    const fleet = await shared()
    const { router, prefill, decode, alone } = fleet
    for (const [method, path] of [
      ['POST', '/pods/decode-0/cordon'],
      ['DELETE', '/pods/decode-0'],
    ] as const) {
      for (const engine of prefill) engine.setFault('slow-headers=600')
      const body = chat({ stream: true })
      const expected = await said(alone.url, body)
      const answer = said(router.url, body)
      await until(async () => (await router.pod('prefill-0')).inflight === 1, 'the prefill is under way')
      await (await router.admin(method, path)).text()
      t.deepEqual((await answer).texts, expected.texts)
      await heal(fleet)
      await settled(fleet)
    }
    t.deepEqual((await said(router.url, chat())).ends, ['length'])
    const [{ url, kvAddress }] = decode
    const kvTransfer =
      connector === 'p2p-nccl'
        ? { connector, address: `${kvAddress?.host}:${kvAddress?.port}` }
        : { connector, ...(kvAddress === null ? {} : { bootstrapPort: kvAddress.port }) }
    const back = { url, id: 'decode-0', role: 'decode', kvTransfer, labels: { turn: 'first' } }
    t.is((await router.admin('POST', '/pods', back)).status, 201)
    await until(async () => (await router.pod('decode-0')).models.length > 0, 'it is back')
    await settled(fleet)
  })

  test.serial(
    `${connector}: a client that reads nothing for a while holds nobody up, and gets all of it`,
    async t => {
      const fleet = await shared()
      const body = chat({ stream: true, max_tokens: 15_000 })
      const expected = await ask(fleet.alone.url, body)
      const answer = await fetch(`${fleet.router.url}${pathOf(body)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      await sleep(500)
      await said(fleet.router.url, chat())
      const text = await answer.text()
      t.is(events(text).length, events(expected.text).length)
      t.regex(text, /data: \[DONE\]\n\n$/)
      await settled(fleet)
    },
  )
}

test.serial(
  'an answer that comes whole may take longer than a first byte; a stream goes to the next pod',
  async t => {
    const fleet = await fleetFor(t, {
      connector: 'nixl',
      execute: { firstByteTimeoutMs: 1_500 },
      engines: { kvTimeout: 6 },
    })
    fleet.decode[0].setFault('slow-headers=4000')
    for (const stream of [false, true]) {
      const answer = await ask(fleet.router.url, chat({ stream }))
      t.is(answer.status, 200)
      t.is(answer.headers.get('x-phyllo-pod'), stream ? 'decode-1' : 'decode-0')
    }
    await settled(fleet)
  },
)

test.serial('p2p-nccl: a pair named ahead stays one when the prefill is tried again', async t => {
  const step = { filter: ['healthy'], pick: 'round-robin', execute: 'single' }
  const fleet = await fleetFor(t, { connector: 'p2p-nccl', decode: step, engines: { kvTimeout: 5 } })
  fleet.prefill[0].setFault('error=500')
  for (let i = 0; i < 4; i++) {
    const body = chat()
    const expected = await said(fleet.alone.url, body)
    t.deepEqual(await said(fleet.router.url, body), expected)
  }
  t.deepEqual(
    fleet.decode.map(engine => engine.handOffs().rejected),
    [0, 0],
  )
  await settled(fleet)
})
