/** Who is told of requests besides the counters: the decision log, and the ages of what is predicted of caches. */
import type { CacheAges } from '../data/cache-ages.js'
import { NO_TICKET } from '../data/native.js'
import type { AnswerEvents } from '../execution/answers.js'
import type { ExecutionEvents } from '../execution/events.js'
import type { DecisionSampler } from './decision-log.js'

export function observedEvents(
  counting: ExecutionEvents,
  ages: CacheAges,
  sampler: DecisionSampler | undefined,
  doubted: ExecutionEvents['onDoubt'],
): ExecutionEvents {
  return {
    onPick(ctx, lease, attempt) {
      // Without a ticket nothing of the prompt was learned.
      if (ctx.ticket !== NO_TICKET) ages.sent(lease.ref)
      counting.onPick(ctx, lease, attempt)
    },
    onRetry: (ctx, pod, cause) => counting.onRetry(ctx, pod, cause),
    onWay: (ctx, way) => counting.onWay(ctx, way),
    onStep: (ctx, step, ms, cause) => counting.onStep(ctx, step, ms, cause),
    onDoubt: doubted,
    onHedge: (ctx, fate) => counting.onHedge(ctx, fate),
    onJudged: (ctx, judgement) => counting.onJudged(ctx, judgement),
    onResume: (ctx, result) => counting.onResume(ctx, result),
    onDone(ctx, record) {
      counting.onDone(ctx, record)
      sampler?.done(ctx, record)
    },
  }
}

export function observedAnswers(counting: AnswerEvents, sampler: DecisionSampler | undefined): AnswerEvents {
  if (sampler === undefined) return counting
  return { ...counting, onTold: (ctx, usage) => sampler.told(ctx, usage) }
}
