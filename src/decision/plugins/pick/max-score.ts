import { z } from 'zod'
import { cursorName, modelCursor } from '../../cursor.js'
import { Dice } from '../../dice.js'
import { picker } from '../../factories.js'
import { TopPods } from '../../top-pods.js'

/**
 * The highest weighted sum first. Ties are common (an idle fleet, no hit anywhere), and a fixed order among them would
 * send a cold burst to one pod, so each way of breaking them ends in chance or rotation, never in slot order.
 */
export const maxScore = picker({
  name: 'max-score',
  summary: 'Picks the pod with the highest weighted sum of scores.',
  options: z.object({
    tieBreak: z
      .enum(['least-load', 'random', 'rotate'])
      .default('least-load')
      .describe(
        'Who wins a tie: the pod with the fewest requests in flight (then at random), any at random, or each in turn, counted over all worker threads.',
      ),
  }),
  build: ({ tieBreak }, env) => {
    const { inflight, native } = env.lane
    const cursor = cursorName(env.profile, 'max-score')
    const dice = new Dice(() => env.random())
    const top = new TopPods()

    return (ctx, pods, scores, ranking) => {
      // First who shares the best place, so that the draw is fair among exactly those.
      let best = Number.NEGATIVE_INFINITY
      let least = 0
      let ties = 0
      for (let i = 0; i < pods.length; i++) {
        const score = scores[i] ?? 0
        const load = tieBreak === 'least-load' ? (inflight[pods.slots[i] ?? 0] ?? 0) : 0
        if (score > best || (score === best && load < least)) {
          best = score
          least = load
          ties = 1
        } else if (score === best && load === least) ties++
      }
      let winner = 0
      if (tieBreak === 'rotate') winner = native.cursor(modelCursor(cursor, ctx.modelId)) % ties
      else if (ties > 1) winner = dice.roll(ties)

      top.clear()
      let tied = 0
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const score = scores[i] ?? 0
        const load = tieBreak === 'least-load' ? (inflight[slot] ?? 0) : 0
        // The tied ones follow the winner in a circle; behind them, slot order does no harm.
        const turn = score === best && load === least ? (tied++ - winner + ties) % ties : i
        top.insert(slot, score, load, turn)
      }
      top.pushTo(ranking)
    }
  },
})
