import test from 'ava'
import fc from 'fast-check'
import { createLatencyMemory, LatencyModel, ownLatencyModel } from '#phyllo/data/latency-model.js'
import { PodView } from '#phyllo/data/pod-view.js'
import { refOf } from '../decision/fake-addon.js'
import { pod, seeded } from '../decision/helpers.js'

const POD = refOf(3)
const OTHER = refOf(4)

/** An engine: 20 ms, 0.1 ms a token, 3 ms a request, and noise of so many parts. */
function answers(
  model: LatencyModel,
  count: number,
  seed: number,
  noise = 0,
  perToken = 0.1,
  ref = POD,
): void {
  const random = seeded(seed)
  for (let i = 0; i < count; i++) {
    const tokens = Math.floor(random() * 8000)
    const requests = Math.floor(random() * 30)
    const ms = 20 + perToken * tokens + 3 * requests
    model.learn(ref, tokens, requests, random(), ms * (1 + noise * (random() - 0.5)))
  }
}

const isNear = (value: number, wanted: number, part: number): boolean =>
  Math.abs(value - wanted) <= part * wanted

test('it says when it does not know: too few answers, or all alike', t => {
  const model = ownLatencyModel(() => 0)
  t.is(model.predict(POD, 100, 1, 0), -1)
  answers(model, 10, 1)
  t.is(new LatencyModel(createLatencyMemory(64, 1), 0, () => 0).msPerToken(POD), -1)
  const alike = ownLatencyModel(() => 0)
  for (let i = 0; i < 100; i++) alike.learn(POD, 500, 3, 0.5, 70)
  t.is(alike.predict(POD, 500, 3, 0.5), -1)
  t.is(alike.msPerToken(POD), -1)
})

test('it learns what an engine takes, through noise, and follows when that changes', t => {
  let now = 0
  const model = ownLatencyModel(() => now)
  answers(model, 200, 1, 0.4)
  t.true(isNear(model.predict(POD, 4000, 10, 0.5), 450, 0.15), String(model.predict(POD, 4000, 10, 0.5)))
  t.true(isNear(model.msPerToken(POD), 0.1, 0.15))
  t.is(model.predict(OTHER, 4000, 10, 0.5), -1)
  answers(model, 300, 2, 0.4, 0.3)
  t.true(isNear(model.msPerToken(POD), 0.1, 0.15), 'what was solved is used for a moment')
  now += 1000
  t.true(isNear(model.msPerToken(POD), 0.3, 0.15), String(model.msPerToken(POD)))
})

test('threads learn together: three that saw a third each know as much as one that saw all', t => {
  const memory = createLatencyMemory(64, 3)
  const models = [0, 1, 2].map(row => new LatencyModel(memory, row, () => 0))
  for (const [row, model] of models.entries()) {
    answers(model, 8, row + 1)
    if (row < 2) t.is(model.predict(POD, 1000, 1, 0), -1)
  }
  // Each has looked already, so a new look is needed: another model of the same memory.
  const late = new LatencyModel(memory, 0, () => 0)
  t.true(isNear(late.predict(POD, 4000, 10, 0.5), 450, 0.15), String(late.predict(POD, 4000, 10, 0.5)))
})

test('a new pod in the slot starts with nothing', t => {
  let now = 0
  const model = ownLatencyModel(() => now)
  answers(model, 100, 1)
  t.true(model.predict(POD, 100, 1, 0) > 0)
  const next = refOf(3, 2)
  t.is(model.predict(next, 100, 1, 0), -1)
  answers(model, 100, 1, 0, 0.5, next)
  now += 1000
  t.true(isNear(model.msPerToken(next), 0.5, 0.1))
  t.is(model.predict(POD, 100, 1, 0), -1)
})

test('whatever is learned, a prediction is a time, and more work is never less', t => {
  const sample = fc.record({
    tokens: fc.oneof(fc.nat(200_000), fc.double()),
    requests: fc.nat(500),
    kvUse: fc.double({ min: 0, max: 1, noNaN: true }),
    ms: fc.oneof(fc.double({ min: 0, max: 1e6, noNaN: true }), fc.double()),
  })
  fc.assert(
    fc.property(
      fc.array(sample, { minLength: 20, maxLength: 120 }),
      fc.nat(100_000),
      fc.nat(100),
      (samples, tokens, requests) => {
        const model = ownLatencyModel(() => 0)
        for (const each of samples) model.learn(POD, each.tokens, each.requests, each.kvUse, each.ms)
        const ms = model.predict(POD, tokens, requests, 0.5)
        t.true(ms === -1 || (ms >= 0 && Number.isFinite(ms)), String(ms))
        const late = ownLatencyModel(() => 0)
        for (const each of samples) late.learn(POD, each.tokens, each.requests, each.kvUse, each.ms)
        answers(late, 1000, 1)
        t.true(late.predict(POD, 4000, 10, 0.5) > 0, 'nothing spoils it for good')
        t.true(model.predict(POD, tokens + 1000, requests + 1, 0.6) >= ms - 1e-6 * Math.abs(ms))
      },
    ),
  )
})

test('a slope that chance made negative is dropped without a shift of all predictions', t => {
  const model = ownLatencyModel(() => 0)
  const random = seeded(5)
  let sum = 0
  let predicted = 0
  const seen: [number, number, number][] = []
  for (let i = 0; i < 400; i++) {
    const [tokens, kvUse] = [random() * 4000, 0.5 + random() / 2]
    // The fuller the cache, the earlier the answer: warm pods, say.
    const ms = 500 + 0.1 * tokens - 400 * kvUse
    model.learn(POD, tokens, 1, kvUse, ms)
    if (i >= 350) seen.push([tokens, kvUse, ms])
  }
  for (const [tokens, kvUse, ms] of seen) {
    sum += ms
    predicted += model.predict(POD, tokens, 1, kvUse)
  }
  t.is(model.terms(POD)?.perKvUse, 0)
  t.true(isNear(predicted, sum, 0.05), `${predicted} for ${sum}`)
})

test('what a prompt takes a pod alone: of all the pods together, through what waits elsewhere; gone with the pod', t => {
  const view = new PodView()
  view.update(
    1,
    [3, 4, 5].map(slot => pod(slot)),
  )
  const memory = createLatencyMemory(64, 2)
  const models = [0, 1].map(row => new LatencyModel(memory, row, () => 0))
  const [model] = models
  if (model === undefined) throw new Error('there are two')
  const random = seeded(5)
  t.is(model.aloneMs(view.all, view, 50_000), -1)
  for (let i = 0; i < 60; i++) {
    const tokens = 40_000 + random() * 20_000
    const isAlone = i % 3 > 0
    const ahead = isAlone ? tokens : 3 * tokens
    const ms = 30 + 0.05 * ahead * (1 + 0.1 * (random() - 0.5))
    models[i % 2]?.learn(refOf(3 + (i % 4 === 0 ? 1 : 0)), ahead, 2, 0.5, ms, isAlone)
    if (i === 5) t.is(model.aloneMs(view.all, view, 50_000), -1, 'four are not enough')
  }
  for (const tokens of [40_000, 50_000, 60_000]) {
    const ms = model.aloneMs(view.all, view, tokens)
    t.true(isNear(ms, 30 + 0.05 * tokens, 0.05), `${tokens}: ${ms}`)
  }
  view.update(
    2,
    [3, 4, 5].map(slot => pod(slot, `new-${slot}`, 2)),
  )
  t.is(model.aloneMs(view.all, view, 50_000), -1)
})

test('whatever is learned of prompts alone, what one takes is a time', t => {
  const view = new PodView()
  view.update(1, [pod(3)])
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.double(), fc.double()), { minLength: 5 }),
        fc.nat(1e7),
        (samples, tokens) => {
          const model = ownLatencyModel(() => 0)
          for (const [length, ms] of samples) model.learn(POD, length, 0, 0, ms, true)
          const ms = model.aloneMs(view.all, view, tokens)
          return ms === -1 || (ms >= 0 && Number.isFinite(ms))
        },
      ),
    ),
  )
})
