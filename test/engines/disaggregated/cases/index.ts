import { answerCases } from './answers.js'
import type { PairCase } from './context.js'
import { faultCases } from './faults.js'
import { leaseCases } from './leases.js'
import { podLossCases } from './pod-loss.js'
import { usageCases } from './usage.js'

/** In order. The last ones kill engines. */
export const cases: readonly PairCase[] = [
  ...answerCases,
  ...usageCases,
  ...leaseCases,
  ...faultCases,
  ...podLossCases,
]
