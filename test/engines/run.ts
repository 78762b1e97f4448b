/**
 * `npm run test:engines [-- PHASE…]`: the router before real engines. Installs them if need be, starts them, runs the
 * cases and ends all of it. Exit code 1 if anything failed.
 */
import { seconds, within } from './harness.js'
import { install } from './install.js'
import { disaggregated } from './phases/disaggregated.js'
import { exact } from './phases/exact.js'
import { handOffs } from './phases/hand-offs.js'
import type { Phase } from './phases/phase.js'
import { serving } from './phases/serving.js'
import { sglang, vllm22 } from './phases/slow.js'
import { killChildrenAtExit } from './processes.js'

/**
 * A fresh installation and the first two phases take some six minutes; the third took four on two cores with a load of 6 to
 * 9. Past this, something hangs.
 */
const RUN_TIMEOUT_MS = 30 * 60_000

const phases: readonly Phase[] = [serving, exact, disaggregated]
const slowPhases: readonly Phase[] = [vllm22, sglang, handOffs]

async function main(names: readonly string[]): Promise<number> {
  const started = performance.now()
  const chosen = choose(names)
  killChildrenAtExit()
  const installation = await install()
  let [passed, failed] = [0, 0]
  for (const phase of chosen) {
    const report = await phase.run(installation)
    passed += report.passed
    failed += report.failed
  }
  console.log(`# ${seconds(started)} in all`)
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

/** No names: what runs in CI. `slow`: what takes too long for that. */
function choose(names: readonly string[]): readonly Phase[] {
  if (names.length === 0) return phases
  if (names.includes('slow')) return slowPhases
  const all = [...phases, ...slowPhases]
  const unknown = names.find(name => !all.some(phase => phase.name === name))
  if (unknown !== undefined)
    throw new Error(`no phase is named '${unknown}': slow, ${all.map(({ name }) => name).join(', ')}`)
  return all.filter(({ name }) => names.includes(name))
}

process.exit(
  await within(RUN_TIMEOUT_MS, 'test:engines', main(process.argv.slice(2))).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    return 1
  }),
)
