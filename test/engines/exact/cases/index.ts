/** The cases of a pair of engines. */
import type { ExactCase } from '../fleet.js'
import { engineRestartCases } from './engine-restart.js'
import { resetCases } from './reset.js'
import { lateRouterCases, routerRestartCases } from './router-restart.js'
import { figureCases, type Mix, trafficCases } from './traffic.js'

/** In order: the figures are those of the traffic before, and the last ones have an engine with a small replay buffer. */
export const pairCases = (mix: Mix, afterwards: number): readonly ExactCase[] => [
  ...trafficCases(mix),
  ...figureCases,
  ...resetCases(afterwards),
  ...routerRestartCases(afterwards),
  ...engineRestartCases(afterwards),
  ...lateRouterCases(afterwards),
]
