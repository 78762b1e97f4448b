import type { FleetCase } from '../fleet.js'
import { abortCases } from './abort.js'
import { controlPathCases } from './control-paths.js'
import { conversationCases } from './conversations.js'
import { errorCases } from './errors.js'
import { forwardTokensCases } from './forward-tokens.js'
import { openaiCases } from './openai.js'
import { podLossCases } from './pod-loss.js'
import { tokenCases } from './tokens.js'

/** In order. The last ones kill a pod. */
export const cases: readonly FleetCase[] = [
  ...openaiCases,
  ...errorCases,
  ...controlPathCases,
  ...tokenCases,
  ...forwardTokensCases,
  ...conversationCases,
  ...abortCases,
  ...podLossCases,
]
