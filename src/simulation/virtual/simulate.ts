/** The simulator's entry for programs: a scenario in, figures out. Runs share nothing and leave nothing behind. */
import { resultOf, type SimulationResult } from './result.js'
import type { Scenario } from './scenario.js'
import { runScenario } from './simulation.js'

export type { SimulationResult } from './result.js'
export type { Scenario, Slo } from './scenario.js'

/**
 * Runs a scenario in virtual time. The same scenario gives the same result but for `wallMs`.
 *
 * @param onEnd is told of each request that has ended
 */
export async function simulate(scenario: Scenario, onEnd?: () => void): Promise<SimulationResult> {
  const startedAt = performance.now()
  const record = await runScenario(scenario, onEnd)
  return resultOf(scenario, record, performance.now() - startedAt)
}
