/** Counts what the engines' answers tell, and says in the log, once, where their counts are not the router's. */
import { CACHE_MODE, USAGE } from '../data/native.js'
import type { RoutingContext } from '../decision/context.js'
import type { AnswerEvents, UsageCheck } from '../execution/answers.js'
import type { Lease } from '../execution/lease.js'
import type { Counters } from '../telemetry/counters.js'
import { type Logger, saidOnce } from '../telemetry/log.js'

export function answerEvents(counters: Counters, log: Logger): AnswerEvents {
  const once = saidOnce()
  return {
    onUsage(ctx, lease, check) {
      const { usage, result, mode, cachedTokens } = check
      if (result !== undefined) counters.promptChecked(result)
      if (usage.cachedTokens >= 0 && result !== USAGE.estimated) {
        counters.cacheChecked(CACHE_MODE[mode], cachedTokens, usage.cachedTokens)
      }
      if (result !== undefined && result !== USAGE.estimated) report(log, once, ctx, lease, check)
    },
    onLearned: learned => counters.answerLearned(learned),
    onFault(error) {
      if (once('fault'))
        log.error({ err: error }, 'an answer could not be read; the requests are not affected')
    },
  }
}

function report(
  log: Logger,
  once: (key: string) => boolean,
  ctx: RoutingContext,
  { pod }: Lease,
  { result, usage, promptTokens }: UsageCheck,
): void {
  const { model } = ctx
  if (result === USAGE.agrees) {
    if (once(`${result} ${model}`))
      log.debug({ model, pod: pod.id }, 'the engine counts prompt tokens as the router does')
    return
  }
  const shape = ctx.lane.native.shape(ctx.ticket)
  if (!once(`${result} ${model} ${shape}`)) return
  const counts = `the engine counted ${usage.promptTokens} prompt tokens, the router ${promptTokens}`
  const then =
    result === USAGE.distrusted
      ? `for requests of the shape ${shape}; they are matched as text from now on`
      : `for a request of the shape ${shape}; should it go on like that, these are matched as text`
  log.warn({ model, pod: pod.id }, `model ${model}: ${counts}, ${then}`)
}
