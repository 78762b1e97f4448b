import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { Dice } from '../../dice.js'
import { filter } from '../../factories.js'

/**
 * Narrows to a few pods drawn at random: with two of them and the least load, it is the power of two choices
 * (Mitzenmacher, 2001), whose longest queue grows with log log n instead of log n / log log n.
 */
export const randomCandidates = filter({
  name: 'random-candidates',
  summary: 'Keeps a few pods drawn at random, each set of them with the same chance.',
  options: z.object({
    choices: z.int().min(1).max(MAX_SLOTS).default(2).describe('Pods that are drawn. No unit.'),
  }),
  build: ({ choices }, env) => {
    const dice = new Dice(() => env.random())
    return (_ctx, pods, keep) => {
      // Knuth's selection sampling: each pod is taken with the chance of those still wanted among those still to come.
      let wanted = Math.min(choices, pods.length)
      for (let i = 0; i < pods.length; i++) {
        if (dice.roll(pods.length - i) < wanted) wanted--
        else keep[i] = 0
      }
    }
  },
})
