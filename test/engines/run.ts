/**
 * `npm run test:engines`: the router before real engines. Installs them if need be, starts them, runs the cases and
 * ends all of it. Exit code 1 if anything failed.
 */
import { cases } from './cases/index.js'
import { startEngines } from './engines.js'
import { clientOf } from './fleet.js'
import { runCases, seconds, within } from './harness.js'
import { install } from './install.js'
import { killChildrenAtExit } from './processes.js'
import { startRouter } from './router.js'

/** All of it takes two or three minutes, a fresh installation included; past this, something hangs. */
const RUN_TIMEOUT_MS = 20 * 60_000

async function main(): Promise<number> {
  const started = performance.now()
  killChildrenAtExit()
  const installation = await install()
  const engines = await startEngines(installation)
  const router = await startRouter(engines, installation.modelDir)
  const fleet = { engines, router, client: clientOf(router.url) }
  const processes = [router, ...engines.vllm, engines.llamacpp].map(each => each.process)
  const evidence = (): string => processes.map(each => each.evidence()).join('\n')
  const { passed, failed } = await runCases(cases, fleet, evidence)
  // The router first: it should not see its pods go.
  await router.process.stop()
  await Promise.all(processes.map(each => each.stop()))
  console.log(`# ${seconds(started)} in all`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

process.exit(
  await within(RUN_TIMEOUT_MS, 'test:engines', main()).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    return 1
  }),
)
