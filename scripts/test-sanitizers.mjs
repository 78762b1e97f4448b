// The index under Miri (undefined behaviour), ThreadSanitizer (data races) and a fuzzer (with AddressSanitizer), on
// native/sanitize, which is the core's own sources. All three need Rust's nightly toolchain; what is missing for one is
// said in its line of the summary, NOT RUN, which is no failure.
// Usage: node scripts/test-sanitizers.mjs [miri] [tsan] [fuzz]. FUZZ_SECONDS: how long, 60 if not set.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const seconds = since => `${Math.round((performance.now() - since) / 1000)} s`
const cache = name => join(root, '.cache', name)

/** Runs cargo's nightly in a folder of `native` with its output on ours; true if it went well. */
function cargo(folder, args, env) {
  const options = { stdio: 'inherit', cwd: join(root, 'native', folder), env: { ...process.env, ...env } }
  const { status, error } = spawnSync('cargo', ['+nightly', ...args], options)
  if (error) console.error(`cargo: ${error.message}`)
  return status === 0
}

/** Output of a command; undefined if it is not there or fails. */
function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', cwd: root })
  return status === 0 ? stdout.trim() : undefined
}

const components = output('rustup', ['component', 'list', '--toolchain', 'nightly', '--installed'])?.split(
  '\n',
)
const target = output('rustc', ['+nightly', '--print', 'host-tuple'])

/** Why something that needs this component cannot run here; undefined if it can. */
function fault(component) {
  if (components === undefined || target === undefined) return 'no nightly toolchain from rustup'
  if (!components.some(name => name.startsWith(component))) return `the nightly toolchain lacks ${component}`
}

// Aliasing rules: crossbeam-epoch keeps to Tree Borrows, not to the older Stacked Borrows (its issue 545). It also casts
// pointers to numbers and back. What it has not collected when the process ends, and the list of its threads, is not
// freed: no leak is reported, for that is all that one could see. Not isolated: proptest wants a random seed and the
// environment.
const miriFlags =
  '-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks -Zmiri-disable-isolation'

/** Twice: memory piece by piece, so that Miri sees the end of each; and in slabs and regions, as it is. */
function miri() {
  const env = { MIRIFLAGS: miriFlags, PROPTEST_CASES: '1' }
  const test = ['miri', 'test', '--lib', '--target-dir', cache('miri')]
  // Of `predicted`, which has no unsafe code, the tests that take seconds.
  const names = ['index::tests', 'index::chains', 'predicted::tests::a_', 'predicted::lru']
  const apart = [...test, '--features', 'pieces-apart', '--', ...names]
  // Without the two tests that write and read megabytes byte by byte.
  const whole = ['index::pool::tests::classes', 'index::arena::tests::a_piece', 'index::tests::examples']
  const pool = [...test, '--', ...whole]
  return cargo('sanitize', apart, env) && cargo('sanitize', pool, env)
}

/** The standard library is built anew, for its locks and threads must be seen too. */
function tsan() {
  const env = {
    // crossbeam-epoch orders by fences, which ThreadSanitizer does not know; with this it uses what it does.
    RUSTFLAGS: '-Zsanitizer=thread --cfg crossbeam_sanitize_thread',
    PROPTEST_CASES: '16',
  }
  const build = ['test', '--lib', '-Zbuild-std', '--target', target, '--target-dir', cache('tsan')]
  return cargo('sanitize', [...build, '--', 'index::', 'predicted::', 'pods::'], env)
}

/**
 * What `cargo fuzz run` does, which so need not be installed. Without LeakSanitizer: it reports the destructors that C's
 * runtime keeps for a sweeper thread that is just ending, once in some runs; the index's memory is its own pool's, and
 * the target itself asserts that it comes back.
 */
function fuzz() {
  const env = {
    RUSTFLAGS: [
      '-Zsanitizer=address --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1',
      '-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
      '-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares',
    ].join(' '),
  }
  const corpus = cache('fuzz/corpus')
  mkdirSync(corpus, { recursive: true })
  const build = ['run', '--release', '--bin', 'index', '--target', target, '--target-dir', cache('fuzz')]
  const time = `-max_total_time=${process.env.FUZZ_SECONDS ?? 60}`
  return cargo(
    'fuzz',
    [...build, '--', corpus, time, '-detect_leaks=0', '-max_len=4096', `-artifact_prefix=${cache('fuzz')}/`],
    env,
  )
}

const jobs = [
  { name: 'miri', title: 'Miri', run: miri, missing: fault('miri') ?? fault('rust-src') },
  { name: 'tsan', title: 'ThreadSanitizer', run: tsan, missing: fault('rust-src') },
  { name: 'fuzz', title: 'Fuzzer', run: fuzz, missing: fault('rust-std') },
]
const asked = process.argv.slice(2)
if (asked.some(name => !jobs.some(job => job.name === name))) {
  console.error('usage: node scripts/test-sanitizers.mjs [miri] [tsan] [fuzz]')
  process.exit(2)
}
const results = jobs
  .filter(({ name }) => asked.length === 0 || asked.includes(name))
  .map(({ title, run, missing }) => {
    if (missing !== undefined) return { ok: true, line: `${title}: NOT RUN: ${missing}` }
    console.log(`== ${title}`)
    const started = performance.now()
    const ok = run()
    return { ok, line: `${title}: ${ok ? 'passed' : 'FAILED'} in ${seconds(started)}` }
  })
console.log('== summary')
for (const { line } of results) console.log(line)
process.exit(results.every(({ ok }) => ok) ? 0 : 1)
