import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { Dice } from '../../dice.js'
import { picker } from '../../factories.js'
import { TopPods } from '../../top-pods.js'

const SIDES = 2 ** 31

/**
 * Draws a pod with chances that rise exponentially with its total, between the best and the worst of the moment:
 * exp((total − best) / ((best − worst) · temperature)), Dynamo's rule. At 0 it is the best one, of equals any. The
 * fall-backs are the others, best first.
 */
export const softmax = picker({
  name: 'softmax',
  summary: 'Draws a pod, the likelier the better its total: softmax with a temperature.',
  options: z.object({
    temperature: z
      .number()
      .min(0)
      .max(100)
      .default(0)
      .describe('0 picks the best; the higher, the more evenly all are drawn. No unit.'),
  }),
  build: ({ temperature }, env) => {
    const dice = new Dice(() => env.random())
    const chances = new Float64Array(MAX_SLOTS)
    const top = new TopPods()
    return (_ctx, pods, scores, ranking) => {
      let best = Number.NEGATIVE_INFINITY
      let worst = Number.POSITIVE_INFINITY
      for (let i = 0; i < pods.length; i++) {
        const score = scores[i] ?? 0
        if (score > best) best = score
        if (score < worst) worst = score
      }
      const scale = best > worst ? 1 / ((best - worst) * temperature) : 0
      let sum = 0
      for (let i = 0; i < pods.length; i++) {
        const score = scores[i] ?? 0
        const chance = score === best ? 1 : temperature === 0 ? 0 : Math.exp((score - best) * scale)
        chances[i] = chance
        sum += chance
      }
      let left = (dice.roll(SIDES) / SIDES) * sum
      let winner = -1
      for (let i = 0; i < pods.length; i++) {
        const chance = chances[i] ?? 0
        if (chance === 0) continue
        winner = i
        left -= chance
        if (left < 0) break
      }
      top.clear()
      for (let i = 0; i < pods.length; i++) {
        const isWinner = i === winner
        top.insert(pods.slots[i] ?? 0, isWinner ? Number.POSITIVE_INFINITY : (scores[i] ?? 0), 0, i)
      }
      top.pushTo(ranking)
    }
  },
})
