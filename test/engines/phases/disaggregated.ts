/** Disaggregated serving: a prefill and a decode vLLM with NixlConnector, for now without a router before them. */
import { cases } from '../disaggregated/cases/index.js'
import { startPair } from '../disaggregated/fleet.js'
import { sendDirectly } from '../disaggregated/legs.js'
import { runCases } from '../harness.js'
import type { Phase } from './phase.js'

export const disaggregated: Phase = {
  name: 'disaggregated',
  async run(installation) {
    const pair = await startPair(installation)
    const evidence = (): string => pair.engines.map(({ process }) => process.evidence()).join('\n')
    const report = await runCases(cases, { pair, send: sendDirectly(pair) }, evidence)
    await pair.stop()
    return report
  },
}
