/** What a prefill and a decode vLLM do with hand-offs, good and bad, without a router: the facts that its policies stand on. */
import { cases } from '../disaggregated/cases/index.js'
import { startPair } from '../disaggregated/fleet.js'
import { sendDirectly } from '../disaggregated/legs.js'
import { runCases } from '../harness.js'
import type { Phase } from './phase.js'

export const handOffs: Phase = {
  name: 'hand-offs',
  async run(installation) {
    const pair = await startPair(installation)
    const evidence = (): string => pair.engines.map(({ process }) => process.evidence()).join('\n')
    const report = await runCases(cases, { pair, send: sendDirectly(pair) }, evidence)
    await pair.stop()
    return report
  },
}
