/**
 * `npm run test:engines`: the router before real engines. Installs them if need be, starts them, runs the cases and
 * ends all of it. Exit code 1 if anything failed.
 */
import { cases } from './cases/index.js'
import { startEngines } from './engines.js'
import { clientOf } from './fleet.js'
import { runCases, seconds } from './harness.js'
import { install } from './install.js'
import { killChildrenAtExit } from './processes.js'
import { startRouter } from './router.js'

async function main(): Promise<number> {
  const started = performance.now()
  killChildrenAtExit()
  const installation = await install()
  const engines = await startEngines(installation)
  const router = await startRouter(engines, installation.modelDir)
  const fleet = { engines, router, client: clientOf(router.url) }
  const { passed, failed } = await runCases(cases, fleet)
  await router.process.stop()
  await Promise.all([...engines.vllm, engines.llamacpp].map(engine => engine.process.stop()))
  console.log(`# ${seconds(started)} in all`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

process.exit(
  await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    return 1
  }),
)
