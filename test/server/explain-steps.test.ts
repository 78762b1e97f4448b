/** Explanations and log lines of requests that go over two pods: which way, why, and each step's pick. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { explanation } from '#phyllo/cli/explain/explanation.js'
import { explanationText } from '#phyllo/cli/explain/table.js'
import { decisionRecord } from '#phyllo/decision/record/schema.js'
import { chatBody, engineFor, post, routerFor, until, user } from './router-kit.js'

test('a split request and a short one: the ways, the steps, nothing sent; the log has both', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'steps-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const path = join(dir, 'decisions.jsonl')
  const common = { kvConnector: 'nixl', kvPort: 0 } as const
  const prefill = await engineFor(t, { ...common, role: 'prefill' })
  const decode = await engineFor(t, { ...common, role: 'decode' })
  const router = await routerFor(t, 'node', {
    pods: [
      { url: prefill.url, id: 'p', role: 'prefill' },
      { url: decode.url, id: 'd', role: 'decode' },
    ],
    profiles: {
      pd: {
        prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
        filter: ['healthy'],
        pick: 'max-score',
        execute: { 'prefill-decode/vllm-nixl': { threshold: 100 } },
      },
      adaptive: {
        prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
        filter: ['healthy'],
        pick: 'max-score',
        execute: { 'prefill-decode/vllm-nixl': { threshold: 'adaptive' } },
      },
    },
    defaults: { profile: 'pd' },
    decisionLog: { path, rate: 1 },
  })
  await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
  const long = chatBody({ messages: [user('a leaf on a stem '.repeat(100))] })
  const short = chatBody({ messages: [user('hi')] })
  const explained = async (body: string, profile = 'pd') =>
    explanation.parse(await (await router.admin('POST', `/explain?profile=${profile}`, body)).json())

  const split = await explained(long)
  t.is(split.profile, 'pd')
  t.deepEqual(
    split.ways.map(({ workflow }) => workflow),
    ['prefill-decode/vllm-nixl'],
  )
  t.regex(split.ways[0]?.why ?? '', /^\d+ uncached tokens on d$/)
  const steps = split.selections.map(({ step, profile, ranking }) => [step, profile, ranking[0]])
  t.deepEqual(steps, [
    ['decode', 'decode', 'd'],
    ['prefill', 'prefill', 'p'],
    ['decode', 'decode', 'd'],
  ])
  t.regex(explanationText(split), /way {7}prefill-decode\/vllm-nixl: \d+ uncached tokens on d\n/)
  const direct = await explained(short)
  t.is(direct.ways[0]?.workflow, 'whole')
  t.regex(direct.ways[0]?.why ?? '', /up to 100 are computed where they are decoded/)
  const { ways } = await explained(long, 'adaptive')
  t.regex(ways[0]?.why ?? '', /^\d+ uncached tokens: on d \d+ ms .*; on p \d+ ms .* to hand over$/)
  const sent = [prefill, decode].map(engine => engine.requests()['POST /v1/chat/completions'] ?? 0)
  t.deepEqual(sent, [0, 0])

  for (const body of [long, short]) t.is((await post(router, body)).status, 200)
  await router.close()
  const lines = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => decisionRecord.parse(JSON.parse(line)))
  t.deepEqual(
    lines.map(({ ways = [], profile }) => [profile, ...ways.map(({ workflow }) => workflow)]),
    [
      ['decode', 'prefill-decode/vllm-nixl'],
      ['decode', 'whole'],
    ],
  )
  t.deepEqual(
    lines[0]?.steps?.map(({ step, pick }) => [step, pick]),
    [
      ['decode', 'd'],
      ['prefill', 'p'],
      ['decode', 'd'],
    ],
  )
  t.is(lines[0]?.outcome.pod, 'd')
})
