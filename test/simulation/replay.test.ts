/** Recorded conversations, their replay and the table. */

import { statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { loadConversations, turnsOf } from '#phyllo/simulation/conversations.js'
import { byteTokenizer, modelTokenizer } from '#phyllo/simulation/engine/tokens.js'
import { replay, type TurnResult, turnBody } from '#phyllo/simulation/replay.js'
import { quantile, renderTable, summarise } from '#phyllo/simulation/report.js'
import { measureWorkload } from '#phyllo/simulation/workload.js'
import { engineFor } from './kit.js'

const demo = (path: string): string => fileURLToPath(new URL(`../../../demo/${path}`, import.meta.url))
const conversations = loadConversations(demo('data/conversations.jsonl'))

test('the demo’s conversations: small, several turns each, each turn continues the one before', t => {
  t.true(statSync(demo('data/conversations.jsonl')).size <= 400 * 1024)
  t.is(conversations.length, 16)
  for (const conversation of conversations) {
    const turns = turnsOf(conversation)
    t.true(turns.length >= 4 && turns.length <= 12)
    turns.forEach((turn, at) => {
      const before = turns[at - 1]?.messages ?? []
      t.deepEqual(turn.messages.slice(0, before.length), before)
      t.true(turn.answerLength > 0)
    })
  }
})

test('the demo’s tokenizer: sane tokens, and each turn’s tokens begin with those of the turn before', t => {
  const tokenizer = modelTokenizer(demo('model'))
  let characters = 0
  let tokens = 0
  for (const conversation of conversations) {
    let before = new Uint32Array(0)
    for (const turn of turnsOf(conversation)) {
      const ids = tokenizer.encodeChat(Buffer.from(turnBody(turn, 'demo', 64)))
      // The last token is the prompt's line end, which may merge with how the recorded answer begins.
      t.true(
        before.subarray(0, -1).every((id, at) => id === ids[at]),
        conversation.id,
      )
      before = Uint32Array.from(ids)
    }
    for (const { content } of conversation.messages) {
      characters += content?.length ?? 0
      tokens += tokenizer.encode(content ?? '', false).length
    }
  }
  const ratio = characters / tokens
  t.true(ratio > 3.3 && ratio < 4, `${ratio} characters to a token`)
})

test('the stand-in tokenizer is reversible and continues what came before', t => {
  const text = fc.string({ unit: 'grapheme' }).map(value => value.replaceAll('\0', ''))
  fc.assert(
    fc.property(text, text, (start, more) => {
      const short = byteTokenizer.encode(start, false)
      const long = byteTokenizer.encode(start + more, false)
      const full = Math.floor(Buffer.byteLength(start) / 4)
      return (
        byteTokenizer.decode(long) === start + more &&
        short.subarray(0, full).every((id, at) => id === long[at])
      )
    }),
  )
  t.pass()
})

test('replay sends every turn once, those of a conversation in order, and reads usage, time and pod', async t => {
  const engine = await engineFor(t, { model: 'demo', speed: 1000 })
  const some = conversations.slice(0, 3)
  const order: TurnResult[] = []
  const options = {
    baseUrl: engine.url,
    model: 'demo',
    conversations: some,
    concurrency: 2,
    longestAnswer: 8,
  }
  const results = await replay({ ...options, seed: 1, onTurn: result => order.push(result) })
  t.is(results.length, some.flatMap(turnsOf).length)
  t.deepEqual(order, results)
  for (const conversation of some) {
    const turns = results.filter(result => result.conversation === conversation.id)
    t.deepEqual(
      turns.map(({ turn }) => turn),
      turnsOf(conversation).map((_, at) => at),
    )
    t.true(
      turns.slice(1).every(({ cachedTokens }) => cachedTokens > 0),
      'one engine remembers every turn',
    )
  }
  for (const result of results) {
    t.is(result.error, null)
    t.true(result.ttftMs > 0 && result.ttftMs <= result.totalMs)
    t.true(result.cachedTokens < result.promptTokens)
    t.true(result.completionTokens >= 1 && result.completionTokens <= 8)
  }
  // One engine with room for all hits as often as any cache could.
  const workload = await measureWorkload(engine.url, 'demo', some, 16)
  const [summary] = [summarise({ profile: 'x', results }, [], 1)]
  t.true(workload.uniqueBlocks < 2082)
  t.true(Math.abs(summary.hitRate - workload.idealHitRate) < 0.01)
})

test('replay as people talk: turns of all conversations are mixed, and shared by several servers', async t => {
  const engines = await Promise.all([0, 1].map(() => engineFor(t, { model: 'demo', speed: 1000 })))
  const some = conversations.slice(0, 4)
  const options = {
    baseUrl: engines.map(({ url }) => url),
    model: 'demo',
    conversations: some,
    concurrency: 1,
    longestAnswer: 8,
    seed: 1,
    thinking: true,
  }
  const results = await replay(options)
  t.is(results.length, some.flatMap(turnsOf).length)
  for (const { id } of some) {
    const turns = results.filter(({ conversation }) => conversation === id).map(({ turn }) => turn)
    t.deepEqual(
      turns,
      turns.toSorted((a, b) => a - b),
    )
  }
  const switches = results.filter(({ conversation }, at) => conversation !== results[at - 1]?.conversation)
  t.true(switches.length > 2 * some.length, 'no conversation runs to its end at once')
  const asked = engines.map(engine => engine.requests()['POST /v1/chat/completions'] ?? 0)
  t.is((asked[0] ?? 0) + (asked[1] ?? 0), results.length)
  t.true(Math.min(...asked) > results.length / 4, String(asked))
  const name = (result: TurnResult): string => `${result.conversation} ${result.turn}`
  t.deepEqual((await replay(options)).map(name), results.map(name), 'the same order for the same seed')
})

test('replay: a server that fails is told in the results and ends nothing', async t => {
  let count = 0
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      count++
      if (count % 3 === 0) response.socket?.destroy()
      else if (count % 3 === 1) response.writeHead(503).end('{"error":{"message":"full"}}')
      else response.writeHead(200, { 'x-phyllo-pod': 'p' }).end('data: {"choices":[]}\n\ndata: [DONE]\n\n')
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? (address satisfies AddressInfo).port : 0
  const some = conversations.slice(0, 1)
  const results = await replay({
    baseUrl: `http://127.0.0.1:${port}`,
    model: 'demo',
    conversations: some,
    concurrency: 1,
    seed: 1,
    longestAnswer: 8,
  })
  t.is(results.length, some.flatMap(turnsOf).length)
  t.regex(results[0]?.error ?? '', /^503: .*full/)
  t.is(results[1]?.error, 'the stream ended without usage')
  t.truthy(results[2]?.error)
  const summary = summarise({ profile: 'x', results }, ['p'], 1)
  t.is(summary.failed, results.length)
  t.regex(renderTable([summary], ['p']), /failed/)
})

test('quantiles are nearest ranks, and the table scales times back by the speed', t => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i)
  t.is(quantile(hundred, 0.5), 50)
  t.is(quantile(hundred, 0.99), 99)
  t.is(quantile([7], 0.99), 7)
  t.true(Number.isNaN(quantile([], 0.5)))
  const result = (pod: string, ttftMs: number, cachedTokens: number): TurnResult => ({
    conversation: 'c',
    turn: 0,
    pod,
    ttftMs,
    totalMs: ttftMs,
    promptTokens: 100,
    cachedTokens,
    completionTokens: 1,
    error: null,
  })
  const results = [result('a', 10, 0), result('b', 20, 80), result('a', 30, 40)]
  t.like(summarise({ profile: 'p', results }, ['a', 'b'], 5), {
    hitRate: 0.4,
    ttftP50: 100,
    ttftP99: 150,
    perPod: [2, 1],
  })
})
