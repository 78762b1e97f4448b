/** What is counted of answers, under which label, and what the log says of counts that differ, once each. */
import test from 'ava'
import { CACHE_MODE, USAGE } from '#phyllo/data/native.js'
import { LEARNED, type UsageCheck } from '#phyllo/execution/answers.js'
import { Lease } from '#phyllo/execution/lease.js'
import { answerEvents } from '#phyllo/server/answer-events.js'
import {
  CACHE_SOURCES,
  CounterSums,
  Counters,
  createCounters,
  LEARNED_ANSWERS,
  PROMPT_CHECKS,
} from '#phyllo/telemetry/counters.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { CountingLane, podAt, startWorker } from '../execution/kit.js'

test('labels are in the order of the codes', t => {
  const names = (codes: Readonly<Record<string, number>>) =>
    Object.entries(codes)
      .sort(([, a], [, b]) => a - b)
      .map(([name]) => name)
  t.deepEqual([...PROMPT_CHECKS], names(USAGE))
  t.deepEqual([...CACHE_SOURCES], names(CACHE_MODE))
  t.deepEqual([...LEARNED_ANSWERS], names(LEARNED))
})

test('counts, and a line a model, shape and result', t => {
  const lines: { level: string; msg: string }[] = []
  const log = createLogger(
    { level: 'info', format: 'json' },
    {},
    { write: line => void lines.push(JSON.parse(line)) },
  )
  const handle = createCounters(64, 1)
  const sums = new CounterSums(handle)
  const events = answerEvents(new Counters(handle, 0), log)
  const worker = startWorker(t, [])
  const ctx = worker.contexts.take()
  ctx.model = 'tiny'
  let shape = 'chat+tools'
  worker.lane.shape = () => shape
  const pod = podAt('http://pod', 0)
  const lease = new Lease(new CountingLane(), pod, pod.ref, 0, 0)
  const check = (result: number | undefined, more: Partial<UsageCheck> = {}) =>
    events.onUsage(ctx, lease, {
      result,
      usage: { promptTokens: 12, cachedTokens: 8 },
      promptTokens: 10,
      cachedTokens: 6,
      mode: 'stale',
      ...more,
    })
  const { agrees, differs, distrusted, estimated } = USAGE
  for (const result of [agrees, agrees, differs, differs, distrusted, estimated, undefined]) check(result)
  check(agrees, { mode: 'exact', usage: { promptTokens: 10, cachedTokens: 5 } })
  check(agrees, { usage: { promptTokens: 10, cachedTokens: -1 } })
  const { layout } = sums
  const range = (first: number, length: number) => Array.from({ length }, (_, i) => sums.at(first + i))
  t.deepEqual(range(layout.promptChecks, 4), [4, 2, 1, 1])
  t.deepEqual(range(layout.cachedPredicted, 3), [0, 6 * 6, 6])
  t.deepEqual(range(layout.cachedActual, 3), [0, 6 * 8, 5])

  t.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [
      [
        'warn',
        'model tiny: the engine counted 12 prompt tokens, the router 10, for a request of the shape chat+tools; should it go on like that, these are matched as text',
      ],
      [
        'warn',
        'model tiny: the engine counted 12 prompt tokens, the router 10, for requests of the shape chat+tools; they are matched as text from now on',
      ],
    ],
  )
  shape = 'chat'
  check(differs)
  t.is(lines.length, 3, 'of another shape it is news')

  events.onLearned(LEARNED.beginning)
  t.deepEqual(range(layout.learnedAnswers, 4), [0, 1, 0, 0])
  for (let i = 0; i < 3; i++) events.onFault(new Error('x'))
  t.is(lines.length, 4)
  t.is(lines[3]?.level, 'error')
  worker.contexts.give(ctx)
})
