import { abortCases } from './aborts.js'
import { answerCases } from './answers.js'
import { choiceCases } from './choice.js'
import type { RoutedCase } from './context.js'
import { podLossCases } from './pod-loss.js'
import { staleCases } from './stale.js'

/** In order. The last ones kill engines. */
export const routedCases: readonly RoutedCase[] = [
  ...answerCases,
  ...choiceCases,
  ...abortCases,
  ...staleCases,
  ...podLossCases,
]
