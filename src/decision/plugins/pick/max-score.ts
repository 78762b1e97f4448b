import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { cursorName, modelCursor } from '../../cursor.js'
import { Dice } from '../../dice.js'
import { nextTurn } from '../../draws.js'
import { picker } from '../../factories.js'
import { writeLoads } from '../../load.js'
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
        'Who wins a tie: the pod with the least load (then at random), any at random, or each in turn, counted over all worker threads. The load is the number of requests known to be on the pod, and more than that while it is new.',
      ),
  }),
  build: ({ tieBreak }, env) => {
    const { lane } = env
    // All zeros where loads do not matter.
    const loads = new Float64Array(MAX_SLOTS)
    const cursor = cursorName(env.profile, 'max-score')
    const dice = new Dice(() => env.random())
    const top = new TopPods()

    return (ctx, pods, scores, ranking) => {
      // First who shares the best place, so that the draw is fair among exactly those.
      if (tieBreak === 'least-load') writeLoads(lane, pods, 0, loads)
      let best = Number.NEGATIVE_INFINITY
      let least = 0
      let ties = 0
      for (let i = 0; i < pods.length; i++) {
        const score = scores[i] ?? 0
        const load = loads[i] ?? 0
        if (score > best || (score === best && load < least)) {
          best = score
          least = load
          ties = 1
        } else if (score === best && load === least) ties++
      }
      let winner = 0
      if (tieBreak === 'rotate') winner = nextTurn(lane.native, modelCursor(cursor, ctx.modelId)) % ties
      else if (ties > 1) winner = dice.roll(ties)

      top.clear()
      let tied = 0
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const score = scores[i] ?? 0
        const load = loads[i] ?? 0
        // The tied ones follow the winner in a circle; behind them, slot order does no harm.
        const turn = score === best && load === least ? (tied++ - winner + ties) % ties : i
        top.insert(slot, score, load, turn)
      }
      top.pushTo(ranking)
    }
  },
})
