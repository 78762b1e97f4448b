/** Log probabilities of the simulated engine: vLLM's shapes, the same in a stream and whole, and probabilities at all. */
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { z } from 'zod'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import { at, engineFor, events, post, postJson } from './kit.js'

const COMPLETIONS = '/v1/completions'
const CHAT = '/v1/chat/completions'

const entry = z.strictObject({ token: z.string(), logprob: z.number(), bytes: z.array(z.number()) })
const chatContent = z.array(entry.extend({ top_logprobs: z.array(entry) }).strict())
const told = z.strictObject({
  text_offset: z.array(z.number()),
  token_logprobs: z.array(z.number().nullable()),
  tokens: z.array(z.string()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
})
type Told = z.infer<typeof told>

const ask = (engine: RunningEngine, path: string, body: object): Promise<unknown> =>
  postJson(engine, path, { model: 'tiny', temperature: 0, ...body })

async function streamed(engine: RunningEngine, path: string, body: object): Promise<unknown[]> {
  const answer = await post(engine, path, { model: 'tiny', temperature: 0, stream: true, ...body })
  return events(await answer.text()).filter(event => at(event, 'choices', 0) !== undefined)
}

/** Probabilities of one place: at most 1 together, the likeliest first. */
function areProbabilities(t: ExecutionContext, logprobs: readonly number[]): void {
  const sum = logprobs.reduce((total, logprob) => total + Math.exp(logprob), 0)
  t.true(sum <= 1 + 1e-5, `${logprobs}`)
  t.deepEqual(
    [...logprobs].sort((a, b) => b - a),
    logprobs,
  )
}

test('of a completion: as many as asked for, the whole the sum of a stream, the echo’s before the answer’s', async t => {
  const engine = await engineFor(t)
  const asked = fc.record({
    prompt: fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme-ascii' }),
    logprobs: fc.integer({ min: 0, max: 20 }),
    max_tokens: fc.integer({ min: 1, max: 12 }),
    echo: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(asked, async body => {
      const answer = await ask(engine, COMPLETIONS, body)
      const whole = told.parse(at(answer, 'choices', 0, 'logprobs'))
      const text = String(at(answer, 'choices', 0, 'text'))
      const completed = Number(at(answer, 'usage', 'completion_tokens'))
      const prompted = body.echo ? Number(at(answer, 'usage', 'prompt_tokens')) : 0
      t.is(whole.tokens.length, completed + prompted)
      t.is(whole.tokens.join(''), text)
      whole.text_offset.forEach((offset, i) => {
        t.true(text.startsWith(whole.tokens[i] ?? '', offset))
      })
      t.is(whole.token_logprobs.indexOf(null), body.echo ? 0 : -1)
      whole.top_logprobs.forEach((top, i) => {
        if (top === null) {
          t.is(whole.token_logprobs[i], null)
          return
        }
        t.is(Object.keys(top).length, Math.max(body.logprobs, 1))
        t.is(top[whole.tokens[i] ?? ''], whole.token_logprobs[i] ?? undefined)
        areProbabilities(
          t,
          Object.values(top).sort((a, b) => b - a),
        )
      })
      const pieces = (await streamed(engine, COMPLETIONS, body)).map(event =>
        told.parse(at(event, 'choices', 0, 'logprobs')),
      )
      // Offsets of a stream are counted from the answer's beginning, once the echo is out.
      const { text_offset: _, ...fields } = joined(pieces)
      const { text_offset: __, ...expected } = whole
      t.deepEqual(fields, expected)
    }),
    { numRuns: 30 },
  )
})

const joined = (pieces: readonly Told[]): Told => ({
  text_offset: pieces.flatMap(piece => piece.text_offset),
  token_logprobs: pieces.flatMap(piece => piece.token_logprobs),
  tokens: pieces.flatMap(piece => piece.tokens),
  top_logprobs: pieces.flatMap(piece => piece.top_logprobs),
})

test('of a chat: a list of tokens, the same in a stream, and none where nobody asks', async t => {
  const engine = await engineFor(t)
  const messages = [{ role: 'user', content: 'say something of some length' }]
  for (const top_logprobs of [undefined, 0, 1, 5, 20]) {
    const body = { messages, max_tokens: 9, logprobs: true, top_logprobs }
    const answer = await ask(engine, CHAT, body)
    const content = chatContent.parse(at(answer, 'choices', 0, 'logprobs', 'content'))
    t.is(content.map(({ token }) => token).join(''), String(at(answer, 'choices', 0, 'message', 'content')))
    for (const { token, logprob, bytes, top_logprobs: top } of content) {
      t.is(Buffer.from(bytes).toString(), token)
      t.is(top.length, top_logprobs ?? 0)
      if (top[0] !== undefined) t.deepEqual(top[0], { token, logprob, bytes })
      areProbabilities(
        t,
        top.map(other => other.logprob),
      )
    }
    const pieces = await streamed(engine, CHAT, body)
    t.is(at(pieces[0], 'choices', 0, 'logprobs'), null, 'the role alone')
    t.deepEqual(
      pieces.slice(1).flatMap(event => at(event, 'choices', 0, 'logprobs', 'content')),
      content,
    )
  }
  t.is(at(await ask(engine, CHAT, { messages, max_tokens: 2 }), 'choices', 0, 'logprobs'), null)
})

test('what is thought of a token is a matter of all before it', async t => {
  const engine = await engineFor(t)
  const first = async (prompt: string) =>
    told.parse(
      at(
        await ask(engine, COMPLETIONS, { prompt, echo: true, logprobs: 0, max_tokens: 1 }),
        'choices',
        0,
        'logprobs',
      ),
    ).token_logprobs
  const [one, same, other] = [await first('abcdefgh'), await first('abcdefgh'), await first('xbcdefgh')]
  t.deepEqual(one, same)
  t.not(one[1], other[1], 'the same token behind another one')
})

test('of the prompt: by id, nothing for its first token, and not in a stream', async t => {
  const engine = await engineFor(t)
  const tokens = z.array(
    z
      .record(
        z.string(),
        z.strictObject({ logprob: z.number(), rank: z.number(), decoded_token: z.string() }),
      )
      .nullable(),
  )
  const prompt = [70_001, 70_002, 70_003]
  const answer = await ask(engine, COMPLETIONS, { prompt, prompt_logprobs: 2, max_tokens: 1 })
  const list = tokens.parse(at(answer, 'choices', 0, 'prompt_logprobs'))
  t.is(list[0], null)
  t.deepEqual(
    list.slice(1).map((each, i) => [Object.keys(each ?? {}).length, each?.[String(prompt[i + 1])]?.rank]),
    [
      [2, 1],
      [2, 1],
    ],
  )
  const messages = [{ role: 'user', content: 'hello' }]
  const chat = await ask(engine, CHAT, { messages, prompt_logprobs: 0, max_tokens: 1 })
  t.is(tokens.parse(at(chat, 'prompt_logprobs')).length, Number(at(chat, 'usage', 'prompt_tokens')))
  const bad: readonly (readonly [path: string, body: object])[] = [
    [COMPLETIONS, { prompt, prompt_logprobs: 1, stream: true }],
    [COMPLETIONS, { prompt, logprobs: 21 }],
    [COMPLETIONS, { prompt, prompt_logprobs: -1 }],
    [CHAT, { messages, top_logprobs: 2 }],
    [CHAT, { messages, logprobs: true, top_logprobs: 21 }],
  ]
  for (const [path, body] of bad) {
    const refused = await post(engine, path, { model: 'tiny', ...body })
    t.is(refused.status, 400, JSON.stringify(body))
  }
})
