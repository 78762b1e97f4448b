/** Two versions of a model in one pool: each pod is matched by what its own version's template and tokenizer make. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import test from 'ava'
import { z } from 'zod'
import { loadNative } from '#phyllo/data/native.js'
import { answerWith } from '../execution/kit-pods.js'
import { chatAnswer, chatBody, modelDir, podOf, post, rawPodFor, routerFor, user } from './router-kit.js'

const explanation = z.object({
  selections: z.tuple([z.object({ cache: z.object({ tokens: z.record(z.string(), z.number()) }) })]),
})

/** Of so many prompt tokens, those that an engine can take from its cache: whole blocks, never the last token. */
const reusable = (tokens: number, blockSize: number) => Math.floor((tokens - 1) / blockSize) * blockSize

test('a rollout: the prompt is found on either version, as many tokens as that version makes of it', async t => {
  const nextDir = mkdtempSync(joinPath(tmpdir(), 'phyllo-variant-'))
  t.teardown(() => rmSync(nextDir, { recursive: true }))
  cpSync(modelDir, nextDir, { recursive: true })
  const preamble = 'The next version begins each conversation with a few words of its own. '.repeat(9)
  writeFileSync(
    joinPath(nextDir, 'chat_template.jinja'),
    `${preamble}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}`,
  )
  const pods = await Promise.all(
    ['old', 'new'].map(() => rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))),
  )
  const [old, next] = pods
  if (old === undefined || next === undefined) return t.fail()
  const router = await routerFor(t, 'node', {
    models: [
      { name: 'tiny', dir: modelDir },
      { name: 'tiny-next', dir: nextDir, blockSize: 32 },
    ],
    pods: [
      { id: 'old', url: old.origin },
      { id: 'new', url: next.origin, variant: 'tiny-next' },
    ],
  })
  const messages = [user('a leaf on a stem, spaced by the golden angle. '.repeat(40))]
  for (const [serves, rests] of [
    ['old', 'new'],
    ['new', 'old'],
  ] as const) {
    await router.admin('POST', `/pods/${rests}/cordon`)
    t.is(await podOf(router, { messages }), serves)
    await router.admin('POST', `/pods/${rests}/uncordon`)
  }
  const answer = await router.admin('POST', '/explain', chatBody({ messages }))
  const { tokens } = explanation.parse(await answer.json()).selections[0].cache
  const body = Buffer.from(chatBody({ messages }))
  const { Tokenizer } = loadNative()
  const count = (dir: string) => Tokenizer.load(dir).encodeChat(body).length
  t.true(count(nextDir) > count(modelDir) + 64)
  t.deepEqual(tokens, { old: reusable(count(modelDir), 16), new: reusable(count(nextDir), 32) })
})

test('token ids are never forwarded to a pod that runs another version of the model', async t => {
  const completion = JSON.stringify({
    id: 'cmpl-1',
    object: 'text_completion',
    created: 0,
    model: 'tiny',
    choices: [{ index: 0, text: 'leaf', finish_reason: 'stop' }],
  })
  const pods = await Promise.all(
    ['old', 'new'].map(() => rawPodFor(t, ({ socket }) => void socket.write(answerWith(200, completion)))),
  )
  const [old, next] = pods
  if (old === undefined || next === undefined) return t.fail()
  const router = await routerFor(t, 'node', {
    models: [{ name: 'tiny', dir: modelDir, forwardTokens: true }, { name: 'tiny-next' }],
    pods: [
      { id: 'old', url: old.origin },
      { id: 'new', url: next.origin, variant: 'tiny-next' },
    ],
  })
  const body = JSON.stringify({ model: 'tiny', prompt: 'a leaf on a stem', max_tokens: 4 })
  for (const rests of ['old', 'new']) {
    await router.admin('POST', `/pods/${rests}/cordon`)
    for (let i = 0; i < 4; i++) t.is((await post(router, body, {}, '/v1/completions')).status, 200)
    await router.admin('POST', `/pods/${rests}/uncordon`)
  }
  const sent = [old, next].map(pod => pod.inference().map(request => request.body.toString() === body))
  t.deepEqual(sent, [
    // The first goes as text, so that the engine counts it.
    [true, false, false, false],
    [true, true, true, true],
  ])
})
