/** Disaggregated serving: the router before a prefill and two decode vLLMs with NixlConnector. */
import { startPair } from '../disaggregated/fleet.js'
import { routedCases } from '../disaggregated/routed/cases/index.js'
import { startRouted } from '../disaggregated/routed/fleet.js'
import { runCases } from '../harness.js'
import type { Phase } from './phase.js'

export const disaggregated: Phase = {
  name: 'disaggregated',
  async run(installation) {
    const pair = await startPair(installation, ['prefill', 'decode', 'spare'], true)
    const fleet = await startRouted(pair)
    const { router } = fleet
    // Engines are others after a restart.
    const evidence = (): string =>
      [router, ...pair.engines].map(({ process }) => process.evidence()).join('\n')
    const report = await runCases(routedCases, fleet, evidence)
    // The router first: it should not see its pods go.
    await router.process.stop()
    await pair.stop()
    return report
  },
}
