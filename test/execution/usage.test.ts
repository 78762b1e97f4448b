/** Usage read backwards from the end of an answer is what parsing the whole answer gives, or nothing. */
import { readdirSync, readFileSync } from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { type AnswerShape, findUsage, TAIL_BYTES, type Usage } from '#phyllo/execution/usage.js'

const ROOT = new URL('../../../test/fixtures/captures/answers/', import.meta.url)

const captures = readdirSync(ROOT).flatMap(engine =>
  readdirSync(new URL(`${engine}/`, ROOT)).map(name => ({
    name: `${engine}/${name}`,
    text: readFileSync(new URL(`${engine}/${name}`, ROOT), 'utf8'),
    shape: { events: name.endsWith('.sse'), responses: name.startsWith('responses') },
  })),
)

const tokens = (value: unknown, name: string): number | undefined => {
  const found = typeof value === 'object' && value !== null ? Object.entries(value) : []
  const number = found.find(([key]) => key === name)?.[1]
  // Counts that no engine sends are none.
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 ? number : undefined
}
const inside = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined

/** The usage of an answer by parsing all of it. */
function parsed(text: string, shape: AnswerShape): Usage | undefined {
  const jsons = shape.events
    ? text
        .split(/\r?\n/)
        .filter(line => line.startsWith('data: {'))
        .map((line): unknown => JSON.parse(line.slice('data: '.length)))
    : [JSON.parse(text)]
  const whole = shape.events && shape.responses ? jsons.map(json => inside(json, 'response')) : jsons
  for (const json of whole.slice(-2).reverse()) {
    const usage = inside(json, 'usage')
    const promptTokens = tokens(usage, 'prompt_tokens') ?? tokens(usage, 'input_tokens')
    if (promptTokens === undefined) continue
    const details = inside(usage, 'prompt_tokens_details') ?? inside(usage, 'input_tokens_details')
    return { promptTokens, cachedTokens: tokens(details, 'cached_tokens') ?? -1 }
  }
  return undefined
}

for (const { name, text, shape } of captures) {
  test(`recorded: ${name}`, t => {
    const expected = parsed(text, shape)
    t.is(expected === undefined, name.includes('without_usage'))
    t.deepEqual(findUsage(Buffer.from(text), shape), expected)
    // Every tail gives the same or nothing, and nothing only if the usage is not whole in it.
    const bytes = Buffer.from(text)
    const from = bytes.lastIndexOf('"usage"')
    for (let cut = 1; cut < bytes.length; cut++) {
      const found = findUsage(bytes.subarray(cut), shape)
      t.deepEqual(found, cut < from ? expected : undefined, `from byte ${cut}`)
    }
  })
}

test('the figures of the recorded answers', t => {
  const figures = Object.fromEntries(
    captures.map(({ name, text, shape }) => [name, findUsage(Buffer.from(text), shape)]),
  )
  t.deepEqual(figures['vllm-0.32.0-details/chat_stream.sse'], { promptTokens: 150, cachedTokens: 128 })
  t.deepEqual(figures['vllm-0.32.0/chat.json'], { promptTokens: 150, cachedTokens: -1 })
  t.deepEqual(figures['sglang-0.5.23/responses.json'], { promptTokens: 30, cachedTokens: 0 })
  t.deepEqual(figures['llama.cpp/chat_stream.sse'], { promptTokens: 31, cachedTokens: 30 })
})

const decoy = { prompt_tokens: 666, input_tokens: 666, prompt_tokens_details: { cached_tokens: 666 } }
/** Texts that look like usage once they are out of their quotes, or as close to it as can be. */
const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ':', ',', ' ', 'usage', '\n', 'data:', 'é'),
  }),
  fc.constantFrom(
    'usage',
    '"usage":{"prompt_tokens":666}',
    JSON.stringify({ usage: decoy }),
    JSON.stringify(JSON.stringify({ usage: decoy })),
    '}\n\ndata: {"usage":{"prompt_tokens":666}}\n\ndata: [DONE]\n\n',
    '\\"usage":{"prompt_tokens":666}',
  ),
)
/** Whatever else an answer holds: usage further in, in metadata and in the schemas of tools. */
const { extra } = fc.letrec(tie => ({
  extra: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.constantFrom(null, true, 0, -1.5e300, [], {}),
    fc.constant({ usage: decoy }),
    fc.constant({ properties: { usage: { type: 'object', ...decoy } } }),
    fc.array(tie('extra'), { maxLength: 3 }),
    fc.dictionary(text, tie('extra'), { maxKeys: 3 }),
  ),
}))
const count = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const usage = fc.oneof(
  fc.record({ prompt_tokens: count, total_tokens: count }),
  fc.record({ prompt_tokens: count, prompt_tokens_details: fc.constantFrom(null, {}) }),
  fc.record({
    total_tokens: count,
    prompt_tokens: count,
    prompt_tokens_details: fc.record({ cached_tokens: count, more: extra }),
  }),
  fc.record({
    input_tokens: count,
    input_tokens_details: fc.record({ per_turn: fc.array(count), cached_tokens: count }),
  }),
  fc.constantFrom(null, {}, 'usage', { prompt_tokens: -1 }, { prompt_tokens: 1.5 }, { prompt_tokens: '7' }),
)
const notUsage = fc
  .array(
    fc.tuple(fc.constantFrom('id', 'choices', 'tools', 'metadata', '\\"usage', 'usage"', 'message'), extra),
    { maxLength: 4 },
  )
  .map(entries => Object.fromEntries(entries))
const body = fc
  .tuple(notUsage, fc.option(usage, { nil: undefined }), notUsage)
  .map(([before, found, after]) => ({
    ...before,
    ...(found === undefined ? {} : { usage: found }),
    ...after,
  }))
const answer = fc.oneof(
  fc
    .tuple(body, fc.constantFrom(undefined, 1, '\t'), fc.constantFrom('', '\n', ' \r\n'), fc.boolean())
    .map(([json, indent, end, responses]) => ({
      text: JSON.stringify(json, null, indent) + end,
      shape: { events: false, responses },
    })),
  fc
    .tuple(
      fc.array(body, { minLength: 1, maxLength: 4 }),
      fc.constantFrom('\n', '\r\n'),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
    )
    .map(([bodies, eol, responses, named, done]) => {
      const events = bodies.map(json =>
        responses ? { type: 'response.x', response: json, sequence_number: 7 } : json,
      )
      const lines = events.map(
        event => `${named ? `event: x${eol}` : ''}data: ${JSON.stringify(event)}${eol}${eol}`,
      )
      return {
        text: lines.join('') + (done ? `data: [DONE]${eol}${eol}` : ''),
        shape: { events: true, responses },
      }
    }),
)

test('property: any answer, as JSON or events, whatever it talks about', t => {
  let [found, none] = [0, 0]
  fc.assert(
    fc.property(answer, ({ text, shape }) => {
      const expected = parsed(text, shape)
      if (expected === undefined) none++
      else found++
      t.deepEqual(findUsage(Buffer.from(text), shape), expected, text)
    }),
    { numRuns: 3000 },
  )
  t.true(found > 500 && none > 500, `${found} with usage, ${none} without`)
})

test('property: the tail of an answer gives what the whole gives, or nothing', t => {
  let found = 0
  fc.assert(
    fc.property(answer, fc.double({ min: 0, max: 1, noNaN: true }), ({ text, shape }, share) => {
      const bytes = Buffer.from(text)
      const expected = parsed(text, shape)
      const tail = findUsage(bytes.subarray(Math.floor(bytes.length * share)), shape)
      if (tail === undefined) return
      found++
      t.deepEqual(tail, expected, text)
    }),
    { numRuns: 3000 },
  )
  t.true(found > 100, `${found} found in tails`)
})

test('property: bytes of any kind are read without a fault', t => {
  const noise = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes))
  const likely = fc.string({
    unit: fc.constantFrom(
      '"',
      '\\',
      '{',
      '}',
      '[',
      ']',
      ':',
      '"usage"',
      '1',
      '\n',
      'data:',
      '{"prompt_tokens":5}',
    ),
  })
  fc.assert(
    fc.property(
      fc.oneof(
        noise,
        likely.map(text => Buffer.from(text)),
      ),
      fc.boolean(),
      fc.boolean(),
      (bytes, events, responses) => {
        const found = findUsage(bytes, { events, responses })
        t.true(found === undefined || Number.isInteger(found.promptTokens))
      },
    ),
    { numRuns: 3000 },
  )
})

test('an answer of which the usage is far from the end', t => {
  const far = (length: number) =>
    Buffer.from(JSON.stringify({ usage: { prompt_tokens: 5 }, prompt_token_ids: 'x'.repeat(length) }))
  const tailOf = (bytes: Buffer) => bytes.subarray(Math.max(bytes.length - TAIL_BYTES, 0))
  const shape = { events: false, responses: false }
  t.deepEqual(findUsage(tailOf(far(TAIL_BYTES - 100)), shape), { promptTokens: 5, cachedTokens: -1 })
  t.is(findUsage(tailOf(far(TAIL_BYTES)), shape), undefined)
})
