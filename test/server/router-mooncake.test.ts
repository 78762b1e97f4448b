/** Mooncake through the whole router: who asks a bootstrap server, what workers are told, and what follows. */
import { createServer } from 'node:http'
import test from 'ava'
import { startEngine } from '#phyllo/simulation/engine/http.js'
import { sleep, until } from '../execution/kit-until.js'
import { engineFor, routerFor } from './router-kit.js'

const profile = {
  filter: ['healthy'],
  pick: 'max-score',
  execute: {
    'prefill-decode/vllm-mooncake': { threshold: 0, prefill: 'least-request', decode: 'least-request' },
  },
}
const shared = { kvConnector: 'mooncake', kvPort: 0, kvHost: '127.0.0.1', model: 'tiny' } as const

test('the prefill’s engine is asked for, and decode is told of it; a pod whose engine is unknown takes no prefill', async t => {
  const prefill = await engineFor(t, { ...shared, role: 'prefill', seed: 1 })
  const decode = await engineFor(t, { ...shared, role: 'decode', seed: 2 })
  // A bootstrap server that knows no engine yet.
  let told = '{}'
  let status = 200
  let asked = 0
  const early = createServer((_, answer) => {
    asked++
    answer.writeHead(status).end(told)
  })
  await new Promise<void>(resolve => early.listen(0, '127.0.0.1', resolve))
  t.teardown(() => early.close())
  const address = early.address()
  if (address === null || typeof address === 'string') return t.fail()
  const port = prefill.kvAddress?.port ?? 0
  const kvTransfer = (bootstrapPort: number) => ({ connector: 'mooncake', bootstrapPort }) as const
  const router = await routerFor(t, 'node', {
    pods: [
      { url: prefill.url, id: 'p', role: 'prefill', kvTransfer: kvTransfer(port) },
      {
        url: `http://localhost:${new URL(prefill.url).port}`,
        id: 'q',
        role: 'prefill',
        kvTransfer: kvTransfer(address.port),
      },
      { url: decode.url, id: 'd', role: 'decode', kvTransfer: kvTransfer(8998) },
    ],
    profiles: { mooncake: profile },
    defaults: { profile: 'mooncake' },
  })
  let known = ''
  await until(
    t,
    () => {
      void router.admin('GET', '/pods/p').then(async answer => {
        known = await answer.text()
      })
      return /"engines":\s*\{\s*"0":/.test(known)
    },
    'the engine of p is known',
  )
  t.notRegex(await (await router.admin('GET', '/pods/q')).text(), /engines/)
  for (let i = 0; i < 4; i++) {
    const answer = await router.client.chat.completions.create({
      model: 'tiny',
      max_tokens: 3,
      messages: [{ role: 'user', content: `say something about ${i}, and something else of some length` }],
    })
    t.is(answer.choices.length, 1)
  }

  // It registers, it restarts with another id, and its bootstrap server stumbles while it is well.
  let shown = ''
  const shows = (text: string) => () => {
    void router.admin('GET', '/pods/q').then(async answer => {
      shown = await answer.text()
    })
    return shown.includes(text)
  }
  for (const id of ['first-id', 'second-id']) {
    told = `{"0":{"engine_id":"${id}","worker_addr":{}}}`
    await until(t, shows(id), `${id} is known`)
  }
  for (const [answer, code] of [
    ['<html>', 200],
    ['{}', 503],
  ] as const) {
    told = answer
    status = code
    const before = asked
    await until(t, () => asked > before + 2, 'it is asked again')
    t.true(shows('second-id')())
  }
  // Several ranks behind one URL: nobody could say which has the blocks.
  told = '{"0":{"engine_id":"a"},"1":{"engine_id":"b"}}'
  status = 200
  await until(t, () => !shows('engines')(), 'it takes no prefill any more')
})

test('an engine that restarts between two health checks is asked for anew by the first hand-off that fails', async t => {
  const options = { ...shared, role: 'prefill', seed: 1, engineId: 'before' } as const
  const decode = await engineFor(t, { ...shared, role: 'decode', seed: 2 })
  const before = await startEngine({ speed: 500, listen: 'node', ...options, port: 0 })
  const { port } = before
  const kvPort = before.kvAddress?.port ?? 0
  const router = await routerFor(t, 'node', {
    health: { intervalMs: 600_000 },
    pods: [
      {
        url: before.url,
        id: 'p',
        role: 'prefill',
        kvTransfer: { connector: 'mooncake', bootstrapPort: kvPort },
      },
      { url: decode.url, id: 'd', role: 'decode', kvTransfer: { connector: 'mooncake' } },
    ],
    profiles: { mooncake: profile },
    defaults: { profile: 'mooncake' },
    upstream: { keepAliveMs: 1000 },
  })
  const known = async () => (await router.admin('GET', '/pods/p')).text()
  const isKnown = async (id: string): Promise<void> => {
    for (let i = 0; !(await known()).includes(`"0": "${id}"`); i++) {
      if (i > 250) throw new Error(`${id} is never known: ${await known()}`)
      await sleep(20)
    }
  }
  await isKnown('before')
  const ask = (i: number) =>
    router.client.chat.completions.create({
      model: 'tiny',
      max_tokens: 3,
      messages: [{ role: 'user', content: `say something about ${i}, and something else of some length` }],
    })
  t.is((await ask(0)).choices.length, 1)
  t.is(decode.handOffs().received, 1)
  await before.close()
  const after = await startEngine({ speed: 500, listen: 'node', ...options, port, kvPort, engineId: 'after' })
  t.teardown(() => after.close())
  // Decode does not find the engine that it is told of; whether a retry comes late enough, or the next request.
  await ask(1).catch(() => undefined)
  await isKnown('after')
  const answer = await ask(2)
  t.is(answer.choices.length, 1)
  t.true(after.handOffs().pulled >= 1)
})
