/**
 * A selection allocates nothing per pod or request. Heap growth is read with the collector kept out of the way, in a
 * process of its own: other tests' garbage would drown it.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { single } from './helpers.js'

const program = fileURLToPath(new URL('./allocation-program.js', import.meta.url))

/** Selections over 64 pods in one run. */
const SELECTIONS = 300_000

test('300,000 selections over 64 pods leave the heap as it was', t => {
  // A large young generation: without a collection, whatever is allocated shows.
  const out = execFileSync(process.execPath, [
    '--expose-gc',
    '--max-semi-space-size=128',
    program,
    String(SELECTIONS),
  ])
  const grown: unknown = JSON.parse(out.toString())
  if (typeof grown !== 'object' || grown === null) return t.fail(out.toString())
  t.is(Object.keys(grown).length, shippedProfiles(single()).length + 1)
  for (const [name, bytes] of Object.entries(grown)) {
    // A boxed double is 12 bytes and an array view about 100. Under 10 bytes a selection there is room for the
    // compiler's own data (1 MB was seen while other tests held the processors), but not for one object each.
    t.true(bytes < 10 * SELECTIONS, `${name}: ${bytes} bytes for ${SELECTIONS} selections`)
  }
})
