import test from 'ava'
import fc from 'fast-check'
import { firstUserMessage } from '#phyllo/decision/first-user-message.js'

const find = (messages: unknown, chars: number, indent = 0): string | undefined =>
  firstUserMessage(Buffer.from(JSON.stringify(messages, undefined, indent)), chars)

const message = fc.oneof(
  fc.record({
    role: fc.constantFrom('system', 'user', 'assistant', 'tool'),
    content: fc.string({ unit: 'grapheme' }),
  }),
  fc.record({
    content: fc.string(),
    role: fc.constantFrom('system', 'user'),
    name: fc.constantFrom('role', 'content', 'user', '{"'),
  }),
  fc.record({
    name: fc.constantFrom('role', 'user'),
    role: fc.constantFrom('developer', 'user'),
    content: fc.string(),
  }),
  fc.record({
    role: fc.constant('assistant'),
    content: fc.constant(null),
    tool_calls: fc.json().map(text => [JSON.parse(text)]),
  }),
  fc.record({
    role: fc.constant('system'),
    content: fc.constant([{ type: 'text', text: 'x', role: 'user', content: 'no' }]),
  }),
)

test('the text that JSON.parse would find, for any messages and any layout', t => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 6 }),
      fc.nat(40),
      fc.constantFrom(0, 2),
      (messages, chars, indent) => {
        const first = messages.find(({ role }) => role === 'user')?.content
        const expected = typeof first === 'string' ? first.slice(0, chars) : undefined
        t.is(find(messages, chars, indent), expected)
      },
    ),
    { numRuns: 1000 },
  )
})

test('content in parts is taken as its JSON, and what is cut off is no failure', t => {
  t.is(find([{ role: 'user', content: [{ type: 'text', text: 'hi' }] }], 10), '[{"type":"')
  const whole = Buffer.from(
    JSON.stringify([
      { role: 'system', content: 's' },
      { role: 'user', content: 'a "b" \u00e9\n' },
    ]),
  )
  fc.assert(
    fc.property(fc.nat(whole.length), length => {
      const text = firstUserMessage(whole.subarray(0, length), 100)
      t.true(text === undefined || typeof text === 'string')
    }),
  )
})
