/** `phyllo tune` as users meet it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'phyllo-cli-tune-'))
test.after.always(() => rmSync(folder, { recursive: true }))

async function phyllo(...args: string[]) {
  const child = spawn(process.execPath, [main, ...args], { stdio: 'pipe', cwd: folder })
  child.stdin.end()
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, out, err }
}

const workload = ['--synthetic', 'groups=1,prompts=40,turns=2', '--rate', '10', '--fleet', 'a10g-8b:2']
const small = [...workload, '--block-size', '512', '--repeats', '2']

test('a search: both parts, gains, the figures, and a profile that check and simulate take', async t => {
  // One prefix for all, and next to no word for the load: everything goes to one of two pods. The search must undo that.
  writeFileSync(
    join(folder, 'bad.yaml'),
    'prepare: [tokenize, hash-blocks, match-prefix]\nscore: [{ least-load: { weight: 0.001 } }, prefix-overlap]\npick: max-score\nexecute: single\n',
  )
  const outputs = ['--json', 'tune.json', '--out', 'best.yaml']
  const vary = ['--vary', 'least-load.weight=0.001..10', '--vary', 'least-load.slack=2,8,32']
  const { code, out, err } = await phyllo(
    'tune',
    ...small,
    '--profile',
    'bad.yaml',
    ...vary,
    '--trials',
    '16',
    ...outputs,
  )
  t.is(code, 0, err)
  t.regex(out, /│ training, as searched +│ +1 │ +56 │/)
  t.regex(out, /│ held back +│ +2–3 │ +24 │/)
  t.regex(out, /│ least-load\.weight +│ +0\.001 – 10 │ +0\.001 │/)
  t.regex(err, /24\/24 runs/)
  const figures = JSON.parse(readFileSync(join(folder, 'tune.json'), 'utf8'))
  t.deepEqual(figures.requests, { training: 56, heldBack: 24 })
  t.true(figures.trials.length <= 16)
  t.is(
    figures.trials[figures.best].value,
    Math.min(...figures.trials.map((each: { value: number }) => each.value)),
  )
  t.true(figures.verdict.found > 0.1, `gain ${figures.verdict.found}`)
  t.true(figures.verdict.heldBack.mean > 0, 'two pods are better on the held-back part, too')
  t.is(figures.training.given.length, 2)

  const check = await phyllo('check', 'best.yaml')
  t.is(check.code, 0, check.err)
  t.regex(check.out, /1 own profile/)
  const again = await phyllo(
    'simulate',
    ...workload,
    '--block-size',
    '512',
    '--compare',
    'bad.yaml,best.yaml',
    '--json',
    '-',
  )
  t.is(again.code, 0, again.err)
  const [bad, best] = JSON.parse(again.out).results
  t.is(best.profile, 'bad-tuned')
  t.true(best.ttftMs.mean < bad.ttftMs.mean, 'on the whole trace, too')
})

test('figures alone go to standard output; the same command gives the same', async t => {
  const args = [...small, '--profile', 'llm-d', '--trials', '4', '--objective', 'goodput', '--json', '-']
  const first = await phyllo('tune', ...args)
  t.is(first.code, 0, first.err)
  t.is(JSON.parse(first.out).options.objective, 'goodput')
  t.is((await phyllo('tune', ...args)).out, first.out)
})

test('wrong flags name the flag and the fix, before anything is run', async t => {
  const says = async (pattern: RegExp, ...args: string[]) => {
    const { code, err } = await phyllo('tune', ...small, ...args)
    t.is(code, 2, err)
    t.regex(err, pattern)
    t.notRegex(err, /runs/)
  }
  await says(
    /^--vary {2}profile 'cache-aware' has no plugin 'prefill-tme' — write prefill-time\n/,
    '--vary',
    'prefill-tme.kvRoom',
  )
  await says(/^--objective {2}.*ttft-mean.*"ttft"/, '--objective', 'ttft')
  await says(/^--hold-back {2}expected .*0\.95/, '--hold-back', '0.95')
  await says(/^--trials {2}expected .*"many"/, '--trials', 'many')
  await says(/^--out {2}cannot write no\/such\/best\.yaml/, '--out', 'no/such/best.yaml')
  await says(
    /^--hold-back {2}synthetic has too few conversations \(1\) to hold some back — /,
    '--synthetic',
    'groups=1,prompts=1',
  )
  writeFileSync(
    join(folder, 'two.yaml'),
    'profiles:\n  a: { pick: random, execute: single }\n  b: { pick: random, execute: single }\n',
  )
  await says(/^--profile {2}two\.yaml holds 2 profiles, and one is tuned at a time/, '--profile', 'two.yaml')
})
