/** Resumed streams event by event: what is read of the first pod's, and what becomes of the second one's. */
import test from 'ava'
import fc from 'fast-check'
import { AnswerRoom, KeptAnswer } from '#phyllo/execution/kept-answer.js'
import { ResumableSink } from '#phyllo/execution/resume/resumable-sink.js'
import { ResumedEvents } from '#phyllo/execution/resume/resumed-events.js'
import { readSoFar } from '#phyllo/execution/resume/stream-so-far.js'
import { dataOf, eventsIn, withData } from '#phyllo/execution/server-sent-events.js'
import { RecordingSink } from './kit.js'

const usage = (completion_tokens: number) => ({ prompt_tokens: 7, completion_tokens, total_tokens: 7 })
const event = (value: object): string => `data: ${JSON.stringify({ id: 'a', ...value })}\n\n`
const says = (content: unknown, more: object = {}): string =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: null }], ...more })
const read = (...events: string[]) => readSoFar(Buffer.from(events.join('')))

test('tokens count only where the last text came with them', t => {
  const counted = { text: 'a b', tokens: { prompt: 7, completion: 2 } }
  t.like(read(says('a', { usage: usage(1) }), says(' b', { usage: usage(2) })), counted)
  t.like(
    read(says('a', { usage: usage(1) }), says(' b', { usage: usage(2) }), says('')),
    counted,
    'an event without a text takes nothing away',
  )
  t.like(read(says('a', { usage: usage(1) }), says(' b')), { text: 'a b', tokens: undefined })
})

test('an answer whose content is no text is not gone on with', t => {
  t.is(read(says('a'), says([{ type: 'text', text: 'b' }])), 'its content is no text')
  t.like(read(says('a'), says(null)), { text: 'a' })
})

const resumed = () =>
  new ResumedEvents({ shared: { id: '"first"' }, hasRole: true }, { prompt: 7, completion: 2 })
const rewrite = (events: string): string => resumed().rewrite(Buffer.from(events)).toString()

test('of events that are rewritten, all but the data stays', t => {
  t.is(
    rewrite('event: error\ndata: {"error":{"code":400}}\n\n'),
    'event: error\ndata: {"error":{"code":400}}\n\n',
  )
  t.is(rewrite(': still here\nid: 3\ndata: {"id":"b"}\n\n'), ': still here\nid: 3\ndata: {"id":"first"}\n\n')
  t.is(rewrite('id: 3\r\ndata: {"id":\r\ndata: "b"}\r\n\r\n'), 'id: 3\ndata: {"id":\ndata: "first"}\n\n')
  t.is(rewrite(': ping\n\n'), ': ping\n\n')
  t.is(rewrite('data: [DONE]\n\n'), 'data: [DONE]\n\n')
})

test('property: events are cut where they end, and say what their lines say', t => {
  const line = fc.constantFrom('data: {"a":', 'data:1}', 'data', 'event: error', ': note', 'id: 3', 'data: ')
  const events = fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { maxLength: 5 })
  fc.assert(
    fc.property(events, fc.constantFrom('\n', '\r\n', '\r'), (all, ending) => {
      const bytes = Buffer.from(all.map(lines => lines.map(each => each + ending).join('') + ending).join(''))
      const cut = [...eventsIn(bytes)]
      t.is(cut.length, all.length)
      t.true(Buffer.concat(cut).equals(bytes))
      for (const [i, event] of cut.entries()) {
        const lines = all[i] ?? []
        const data = lines.filter(each => each.startsWith('data:'))
        const text = data.length === 0 ? undefined : data.map(each => each.replace(/^data: ?/, '')).join('\n')
        t.is(dataOf(event)?.toString(), text)
        const other = withData(event, Buffer.from('{"b":\n2}'))
        t.is(dataOf(other)?.toString(), '{"b":\n2}')
        const rest = lines.filter(each => !each.startsWith('data:'))
        t.is(other.toString(), [...rest, 'data: {"b":', 'data: 2}', '', ''].join('\n'))
      }
    }),
  )
})

test('a client that was slow within a piece is waited for, though an event behind is left out', t => {
  const client = new RecordingSink(() => false)
  const sink = new ResumableSink(client, new KeptAnswer(new AnswerRoom()), { broken: () => false })
  sink.begin(200, ['content-type', 'text/event-stream'])
  sink.resume(resumed())
  const error = 'data: {"error":{"message":"the request is to blame","code":400}}\n\n'
  const role = event({ choices: [{ index: 0, delta: { role: 'assistant' }, finish_reason: null }] })
  t.false(sink.write(Buffer.from(error + role)))
})
