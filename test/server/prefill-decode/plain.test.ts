/** Requests that nothing happens to, through each workflow: what the client gets is what one engine alone would say. */
import test, { type ExecutionContext } from 'ava'
import { at } from '../../simulation/kit.js'
import { ask, type Said, said } from './ask.js'
import {
  type Connector,
  chat,
  completion,
  type Fleet,
  fleetFor,
  prompt,
  served,
  settled,
  sharedFleet,
} from './kit.js'

const connectors: readonly Connector[] = ['nixl', 'sglang', 'p2p-nccl', 'mooncake', 'generic']

const servedBy = ({ prefill, decode }: Fleet) => ({
  prefill: served(prefill[0]) + served(prefill[1]),
  decode: served(decode[0]) + served(decode[1]),
})

/** The engine that serves alone has then seen the same prompts as the fleet, so that its caches hold the same. */
async function same(t: ExecutionContext, fleet: Fleet, body: object): Promise<Said> {
  const expected = await said(fleet.alone.url, body)
  const found = await said(fleet.router.url, body)
  t.deepEqual(found, expected)
  return found
}

for (const connector of connectors) {
  // SGLang takes one answer to a prompt, and its decode pods nothing whole.
  const shared = sharedFleet({ connector, whole: connector === 'sglang' })

  test.serial(`${connector}: chats and completions, streamed and not, in words and counts`, async t => {
    const fleet = await shared()
    const before = servedBy(fleet)
    for (const body of [chat(), completion()]) {
      const cold = await same(t, fleet, body)
      t.is(cold.usage?.prompt_tokens_details?.cached_tokens, 0)
      t.not(cold.texts[0], '')
      const warm = await same(t, fleet, { ...body, stream: true, stream_options: { include_usage: true } })
      t.true((warm.usage?.prompt_tokens_details?.cached_tokens ?? 0) > 200)
      t.deepEqual(warm.texts, cold.texts)
      // Nobody asked for counts: what the prefill's request looks like must not show here.
      t.is((await same(t, fleet, { ...body, stream: true })).usage, undefined)
    }
    const { prefill, decode } = servedBy(fleet)
    t.deepEqual([prefill - before.prefill, decode - before.decode], [6, 6], 'each went over two engines')
    await settled(fleet)
  })

  test.serial(`${connector}: tools, token limits, seeds and stops`, async t => {
    const fleet = await shared()
    const parts = (json: unknown) => ({
      content: at(json, 'choices', 0, 'message', 'content'),
      calls: at(json, 'choices', 0, 'message', 'tool_calls', 0, 'function'),
      finish: at(json, 'choices', 0, 'finish_reason'),
    })
    const weather = {
      type: 'function',
      function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
    }
    for (const fields of [
      { tools: [weather], tool_choice: 'required', max_tokens: 64 },
      { min_tokens: 4, seed: 7 },
      { max_completion_tokens: 5, max_tokens: undefined },
      { stop: ['e'] },
    ]) {
      const body = chat(fields)
      const expected = parts((await ask(fleet.alone.url, body)).json)
      const answer = await ask(fleet.router.url, body)
      t.is(answer.status, 200, answer.text)
      t.deepEqual(parts(answer.json), expected)
      t.truthy(expected.finish)
      await same(t, fleet, { ...body, stream: true })
    }
    await settled(fleet)
  })

  test.serial(`${connector}: several answers and batches of prompts`, async t => {
    const fleet = await shared()
    for (const body of [
      chat({ n: 2 }),
      completion({ n: 2 }),
      completion({ prompt: [prompt(), prompt(), prompt()] }),
      completion({ prompt: [prompt()] }),
      completion({ prompt: [[1, 2, 3, 4], Array.from({ length: 300 }, (_, i) => i)] }),
      completion({ prompt: Array.from({ length: 300 }, (_, i) => 70_000 + i) }),
    ]) {
      await same(t, fleet, body)
      await same(t, fleet, { ...body, stream: true })
    }
    await settled(fleet)
  })

  test.serial(`${connector}: the official client`, async t => {
    const { alone, router } = await shared()
    const messages = [{ role: 'user' as const, content: prompt() }]
    const request = { model: 'tiny', messages, max_tokens: 8, temperature: 0 }
    const expected = await said(alone.url, request)
    const whole = await router.client.chat.completions.create(request)
    t.is(whole.choices[0]?.message.content, expected.texts[0])
    const stream = router.client.chat.completions.stream({
      ...request,
      stream_options: { include_usage: true },
    })
    const last = await stream.finalChatCompletion()
    t.is(last.choices[0]?.message.content, expected.texts[0])
    t.is(last.usage?.prompt_tokens, expected.usage?.prompt_tokens)
    await settled(await shared())
  })
}

test.serial('three workers: forty at once, each on its own two engines', async t => {
  const fleet = await fleetFor(t, { connector: 'nixl', workers: 3 })
  const bodies = Array.from({ length: 40 }, (_, i) => chat({ stream: i % 2 === 0 }))
  const expected = await Promise.all(bodies.map(body => said(fleet.alone.url, body)))
  const found = await Promise.all(bodies.map(body => said(fleet.router.url, body)))
  t.deepEqual(
    found.map(({ texts }) => texts),
    expected.map(({ texts }) => texts),
  )
  t.deepEqual(servedBy(fleet), { prefill: 40, decode: 40 })
  await settled(fleet)
})

test.serial('what is short, or cached where it is decoded, goes straight there', async t => {
  const fleet = await fleetFor(t, { connector: 'nixl', execute: { threshold: 256 } })
  const body = chat()
  const short = chat({ messages: [{ role: 'user', content: 'hello' }] })
  await said(fleet.router.url, short)
  t.deepEqual(servedBy(fleet), { prefill: 0, decode: 1 })
  await said(fleet.router.url, body)
  t.deepEqual(servedBy(fleet), { prefill: 1, decode: 2 })
  await said(fleet.router.url, body)
  t.deepEqual(servedBy(fleet), { prefill: 1, decode: 3 }, 'its blocks are there by now')
  await settled(fleet)
})
