/** The API, errors, tokens, aborts and losses, before two vLLMs and a llama.cpp with caches large enough for all. */
import { cases } from '../cases/index.js'
import { VLLM_MODEL } from '../engine.js'
import { BLOCK_SIZE, type Engines, LLAMACPP_MODEL, startEngines } from '../engines.js'
import { clientOf } from '../fleet.js'
import { runCases } from '../harness.js'
import { type FleetConfig, startRouter } from '../router.js'
import type { Phase } from './phase.js'

export const serving: Phase = {
  name: 'serving',
  async run(installation) {
    const engines = await startEngines(installation)
    const models = [VLLM_MODEL, LLAMACPP_MODEL]
    const router = await startRouter('router', configOf(engines, installation.modelDir, models), models)
    const fleet = { engines, router, client: clientOf(router.url) }
    const processes = [router, ...engines.vllm, engines.llamacpp].map(each => each.process)
    const evidence = (): string => processes.map(each => each.evidence()).join('\n')
    const report = await runCases(cases, fleet, evidence)
    // The router first: it should not see its pods go.
    await router.process.stop()
    await Promise.all(processes.map(each => each.stop()))
    return report
  },
}

const configOf = ({ vllm, llamacpp }: Engines, dir: string, models: readonly string[]): FleetConfig => ({
  pods: [...vllm, llamacpp].map(({ name, url }) => ({ id: name, url })),
  models: models.map(name => ({ name, dir, blockSize: BLOCK_SIZE, profile: 'cache-aware' })),
})
