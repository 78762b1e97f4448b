import { cursorName, modelCursor } from '../../cursor.js'
import { Dice } from '../../dice.js'
import { nextTurn } from '../../draws.js'
import { noOptions, picker } from '../../factories.js'
import { RANKING_SIZE } from '../../ranking.js'
import { SlowStart } from '../../slow-start.js'

/** Each pod in turn, with one counter for all worker threads: one per worker would drift apart. */
export const roundRobin = picker({
  name: 'round-robin',
  summary:
    'Picks each pod in turn, counted over all worker threads; one that is new misses some of its turns, and scores do not matter.',
  options: noOptions,
  build: (_, { lane, profile, random }) => {
    const cursor = cursorName(profile, 'round-robin')
    const slowStart = new SlowStart(lane, new Dice(() => random()))
    return (ctx, pods, _scores, ranking) => {
      const name = modelCursor(cursor, ctx.modelId)
      slowStart.begin(pods)
      let first = nextTurn(lane.native, name) % pods.length
      // A turn that is not taken is used up: the next pod's comes to it once all the same. Among as many turns as there
      // are pods is the warmest one's.
      for (let i = 1; i < pods.length && !slowStart.admits(pods.slots[first] ?? 0); i++) {
        first = nextTurn(lane.native, name) % pods.length
      }
      for (let i = 0; i < pods.length && i < RANKING_SIZE; i++) {
        ranking.push(pods.slots[(first + i) % pods.length] ?? 0)
      }
    }
  },
})
