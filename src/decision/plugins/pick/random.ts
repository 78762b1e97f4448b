import { MAX_SLOTS } from '../../../data/native.js'
import { Dice } from '../../dice.js'
import { noOptions, picker } from '../../factories.js'
import { RANKING_SIZE } from '../../ranking.js'
import { SlowStart } from '../../slow-start.js'

/**
 * Draws for the first place, should those drawn be new and not take it. Of a whole pool as cold as can be but for one
 * pod, a draw is taken with a chance of a tenth at least, so that the last one is forced once in 800 requests.
 */
const DRAWS = 64

/** Any pod, each with the same chance but for those that are new; the fall-backs, those too. */
export const random = picker({
  name: 'random',
  summary: 'Picks a pod at random, with a smaller chance one that is new; scores do not matter.',
  options: noOptions,
  build: (_, env) => {
    const dice = new Dice(() => env.random())
    const slowStart = new SlowStart(env.lane, dice)
    const deck = new Uint16Array(MAX_SLOTS)
    return (_ctx, pods, _scores, ranking) => {
      for (let i = 0; i < pods.length; i++) deck[i] = pods.slots[i] ?? 0
      slowStart.begin(pods)
      // The first places of a Fisher-Yates shuffle: as many draws as places in the ranking, not as pods.
      for (let i = 0; i < pods.length && i < RANKING_SIZE; i++) {
        let j = i + dice.roll(pods.length - i)
        for (let draw = 1; i === 0 && draw < DRAWS && !slowStart.admits(deck[j] ?? 0); draw++) {
          j = dice.roll(pods.length)
        }
        ranking.push(deck[j] ?? 0)
        deck[j] = deck[i] ?? 0
      }
    }
  },
})
