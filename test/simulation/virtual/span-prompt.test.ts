import test from 'ava'
import fc from 'fast-check'
import { BODY_KINDS, FIELDS, loadNative, OPS, SCAN } from '#phyllo/data/native.js'
import { type Span, SpanPrompt } from '#phyllo/simulation/virtual/span-prompt.js'
import { STATE_OPTIONS } from '../../data/state-options.js'

const span = fc.record({
  id: fc.integer({ min: 0, max: 9_999_999_999 }),
  tokens: fc.integer({ min: 1, max: 70 }),
})

test('the router reads the very tokens that the engine is given, whatever the model’s and session’s names', t => {
  const addon = loadNative()
  const state = addon.SharedState.open('span-prompt', { ...STATE_OPTIONS })
  const model = state.addModel('m', { blockSize: 16 })
  const lane = new addon.Lane(state)
  const fields = new Uint32Array(FIELDS.length * 2)
  const name = fc.string({ minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(
      fc.array(span, { minLength: 1, maxLength: 6 }),
      span,
      name,
      fc.option(name),
      (spans, answer, model_, session) => {
        const prompt = new SpanPrompt(spans, answer)
        const body = prompt.body(model_, answer.tokens, session)
        const json: { prompt: number[]; model: string; user?: string; max_tokens: number } = JSON.parse(
          String(body),
        )
        if (lane.scan(body, BODY_KINDS.completions, fields) !== SCAN.ok) return false
        const ticket = lane.prepare(model, OPS.tokenize, BODY_KINDS.completions, body, fields)
        const read = lane.tokens(ticket)
        lane.drop(ticket)
        const all = prompt.tokens()
        const own = all.subarray(0, prompt.length)
        return (
          json.model === model_ &&
          (json.user ?? null) === session &&
          json.max_tokens === answer.tokens &&
          own.every((token, at) => token === read[at] && token === json.prompt[at]) &&
          read.length === prompt.length &&
          json.prompt.length === prompt.length &&
          prompt.answerTokens().every((token, at) => token === all[prompt.length + at])
        )
      },
    ),
  )
  addon.SharedState.close('span-prompt')
  t.pass()
})

test('equal spans are equal tokens; where spans differ, so do the ten tokens from there on', t => {
  const tokens = (spans: readonly Span[]) => new SpanPrompt(spans, { id: 0, tokens: 1 }).tokens()
  const long = fc.record({ id: fc.integer({ min: 0, max: 9_999_999_999 }), tokens: fc.constant(32) })
  fc.assert(
    fc.property(fc.array(long, { maxLength: 4 }), long, long, (shared, a, b) => {
      const left = tokens([...shared, a])
      const right = tokens([...shared, b])
      const from = shared.length * 32
      const isShared = left.subarray(0, from).every((token, at) => token === right[at])
      const isSame = left.subarray(from, from + 10).every((token, at) => token === right[from + at])
      return isShared && isSame === (a.id === b.id)
    }),
  )
  t.pass()
})
