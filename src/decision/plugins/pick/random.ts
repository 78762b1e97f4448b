import { MAX_SLOTS } from '../../../data/native.js'
import { Dice } from '../../dice.js'
import { noOptions, picker } from '../../factories.js'
import { RANKING_SIZE } from '../../ranking.js'

/** Any pod, each with the same chance; so are the fall-backs. */
export const random = picker({
  name: 'random',
  summary: 'Picks a pod at random; scores do not matter.',
  options: noOptions,
  build: (_, env) => {
    const dice = new Dice(() => env.random())
    const deck = new Uint16Array(MAX_SLOTS)
    return (_ctx, pods, _scores, ranking) => {
      for (let i = 0; i < pods.length; i++) deck[i] = pods.slots[i] ?? 0
      // The first places of a Fisher-Yates shuffle: as many draws as places in the ranking, not as pods.
      for (let i = 0; i < pods.length && i < RANKING_SIZE; i++) {
        const j = i + dice.roll(pods.length - i)
        ranking.push(deck[j] ?? 0)
        deck[j] = deck[i] ?? 0
      }
    }
  },
})
