import { cursorName, modelCursor } from '../../cursor.js'
import { noOptions, picker } from '../../factories.js'
import { RANKING_SIZE } from '../../ranking.js'

/** Each pod in turn, with one counter for all worker threads: one per worker would drift apart. */
export const roundRobin = picker({
  name: 'round-robin',
  summary: 'Picks each pod in turn, counted over all worker threads; scores do not matter.',
  options: noOptions,
  build: (_, { lane, profile }) => {
    const cursor = cursorName(profile, 'round-robin')
    return (ctx, pods, _scores, ranking) => {
      const first = lane.native.cursor(modelCursor(cursor, ctx.modelId)) % pods.length
      for (let i = 0; i < pods.length && i < RANKING_SIZE; i++) {
        ranking.push(pods.slots[(first + i) % pods.length] ?? 0)
      }
    }
  },
})
