/** When the beginning of a stream says something, however it is cut into pieces. */
import test from 'ava'
import fc from 'fast-check'
import { type HeadVerdict, StreamHead } from '#phyllo/execution/stream-head.js'

const chat = (delta: object, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
const role = chat({ role: 'assistant', content: '', reasoning: null })

const cases: [string, string, HeadVerdict][] = [
  ['a role', role, 'nothing'],
  ['comments and other lines', ': ping\n\nevent: x\nid: 3\n\n', 'nothing'],
  ['an empty text', 'data: {"choices":[{"text":"","finish_reason":null}]}\n\n', 'nothing'],
  ['a text', 'data: {"choices":[{"text":"a","finish_reason":null}]}\n\n', 'content'],
  ['content', role + chat({ content: 'a' }), 'content'],
  ['a call', role + chat({ tool_calls: [{ index: 0 }] }), 'content'],
  ['an end', role + chat({}, 'stop'), 'content'],
  ['the end', 'data: [DONE]\n\n', 'content'],
  ['usage alone', 'data: {"choices":[],"usage":{}}\n\n', 'nothing'],
  ['no JSON', 'data: hello\n\n', 'content'],
  ['another API', 'data: {"type":"response.created"}\n\n', 'content'],
  ['an error', `${role}data: {"error":{"message":"lost","code":500}}\n\n`, { error: 'lost' }],
  ['an error as text', 'data: {"error":"lost"}\n\n', { error: 'lost' }],
  ['no error', 'data: {"error":null,"choices":[{"text":"a"}]}\n\n', 'content'],
]

for (const [name, text, verdict] of cases) {
  test(`${name}, in any pieces`, t => {
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 6 }), cuts => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), text.length]
        const head = new StreamHead()
        let found: HeadVerdict = 'nothing'
        for (let i = 1; i < places.length && found === 'nothing'; i++)
          found = head.add(Buffer.from(text.slice(places[i - 1], places[i])))
        t.deepEqual(found, verdict)
        t.true(text.startsWith(Buffer.concat(head.chunks).toString()))
      }),
    )
  })
}

test('a stream that says nothing for long is let out', t => {
  const head = new StreamHead()
  let verdict: HeadVerdict = 'nothing'
  for (let i = 0; i < 1000 && verdict === 'nothing'; i++)
    verdict = head.add(Buffer.from(': still here, still here\n\n'))
  t.is(verdict, 'content')
})
