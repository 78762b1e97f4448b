/** Faults that are switched while an engine runs, by leg and by number, and those of the connection itself. */
import test from 'ava'
import { at, engineFor, events, post, postJson, until } from './kit.js'

const chat = {
  model: 'tiny',
  messages: [{ role: 'user', content: 'Leaves?' }],
  max_tokens: 8,
  ignore_eos: true,
}
const path = '/v1/chat/completions'

test('a fault is set, hits so many requests, is counted and ends; nonsense is refused', async t => {
  const engine = await engineFor(t)
  t.like(await postJson(engine, '/sim/fault', { fault: 'error=429', times: 2 }), { fault: 'error', times: 2 })
  for (const status of [429, 429, 200]) t.is((await post(engine, path, chat)).status, status)
  t.like(await (await fetch(`${engine.url}/sim/fault`)).json(), { times: 0, hits: { error: 2 } })
  engine.setFault('error')
  t.is((await post(engine, path, chat)).status, 500)
  engine.setFault(null)
  t.is((await post(engine, path, chat)).status, 200)
  for (const fault of ['nonsense', 'error=x', 'die=']) {
    t.is((await post(engine, '/sim/fault', { fault })).status, 400, fault)
    t.throws(() => engine.setFault(fault), { instanceOf: RangeError })
  }
})

test('a fault of one leg leaves the other alone', async t => {
  const engine = await engineFor(t, { kvConnector: 'nixl', kvPort: 0 })
  engine.setFault('error=503', 'prefill')
  const params = { do_remote_decode: true }
  t.is((await post(engine, path, { ...chat, kv_transfer_params: params })).status, 503)
  t.is((await post(engine, path, chat)).status, 200)
  const prefill = await engineFor(t, { role: 'prefill', kvConnector: 'nixl', kvPort: 0 })
  prefill.setFault('error', 'decode')
  t.is((await post(prefill, path, chat)).status, 200)
  prefill.setFault('error', 'prefill')
  t.is((await post(prefill, path, chat)).status, 500)
})

for (const listen of ['auto', 'node'] as const) {
  test(`connections are refused while nothing listens, and taken again on the same port (${listen})`, async t => {
    const engine = await engineFor(t, { listen })
    await engine.setListening(false)
    const error = await t.throwsAsync(post(engine, path, chat))
    t.is(at(error, 'cause', 'code'), 'ECONNREFUSED')
    await engine.setListening(true)
    t.is((await post(engine, path, chat)).status, 200)
    t.is((await post(engine, '/sim/listen', { closedMs: 500 })).status, 200)
    const isUp = (): Promise<boolean> =>
      fetch(`${engine.url}/health`).then(
        () => true,
        () => false,
      )
    while (await isUp()) await new Promise(resolve => setTimeout(resolve, 2))
    while (!(await isUp())) await new Promise(resolve => setTimeout(resolve, 5))
    t.is((await post(engine, path, chat)).status, 200)
  })
}

test('a slow body comes whole, a stalled one never ends', async t => {
  const engine = await engineFor(t)
  const ask = (fault: string, stream: boolean, signal?: AbortSignal) =>
    fetch(`${engine.url}${path}`, {
      method: 'POST',
      body: JSON.stringify({ ...chat, stream }),
      headers: { 'x-sim-fault': fault },
      ...(signal === undefined ? {} : { signal }),
    })
  t.is(at(await (await ask('slow-body=20', false)).json(), 'usage', 'completion_tokens'), 8)
  const slow = events(await (await ask('slow-body=20', true)).text())
  t.is(slow.length, 10, 'the role, eight pieces and [DONE]')
  for (const stream of [true, false]) {
    const away = new AbortController()
    const answer = await ask('stall=2', stream, away.signal)
    t.is(answer.status, 200)
    const reader = answer.body?.getReader()
    await reader?.read()
    await until(() => engine.stats().running + engine.stats().waiting === 0)
    away.abort()
    // Had the answer ended, reading on would come to an end, not to an error.
    await t.throwsAsync(
      async () => {
        while ((await reader?.read())?.done === false);
      },
      { any: true },
    )
  }
  await until(() => engine.stats().usedBlocks === 0)
  t.pass()
})
