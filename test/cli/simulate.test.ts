/** `phyllo simulate` as users meet it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'phyllo-cli-simulate-'))
test.after.always(() => rmSync(folder, { recursive: true }))

async function simulate(...args: string[]) {
  const child = spawn(process.execPath, [main, 'simulate', ...args], { stdio: 'pipe', cwd: folder })
  child.stdin.end()
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, out, err }
}

const small = ['--synthetic', 'groups=3,prompts=5,turns=2', '--rate', '5', '--fleet', 'a10g-8b:2,h100-8b:1']

test('profiles side by side: a table, the figures, a page', async t => {
  const outputs = ['--json', 'out.json', '--html', 'out.html']
  const { code, out, err } = await simulate(...small, '--compare', 'round-robin,cache-aware', ...outputs)
  t.is(code, 0, err)
  t.regex(out, /│ round-robin +│/)
  t.regex(out, /│ cache-aware +│/)
  t.regex(err, /cache-aware 30\/30 requests/, 'progress is no part of what may be piped on')
  const { results, workload } = JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8'))
  t.is(workload, 'synthetic')
  t.deepEqual(
    results.map(({ profile, completed }: { profile: string; completed: number }) => [profile, completed]),
    [
      ['round-robin', 30],
      ['cache-aware', 30],
    ],
  )
  t.regex(readFileSync(join(folder, 'out.html'), 'utf8'), /^<!doctype html>/)
})

test('figures alone go to standard output; the same command gives the same, but for the time it took', async t => {
  const run = async () => {
    const { code, out, err } = await simulate(
      ...small,
      '--profile',
      'random',
      '--event-lag',
      '20',
      '--json',
      '-',
    )
    t.is(code, 0, err)
    return out.replace(/"wallMs": [\d.]+/g, '')
  }
  const first = await run()
  t.is(JSON.parse(first.replace(/,\s*}/g, '}')).results[0].profile, 'random')
  t.is(await run(), first)
})

test('a trace and a scenario file', async t => {
  const rows = Array.from({ length: 9 }, (_, at) => `${at},100,20`)
  writeFileSync(join(folder, 'burst.csv'), `Timestamp,Request tokens,Response tokens\n${rows.join('\n')}\n`)
  writeFileSync(join(folder, 'scenario.yaml'), 'trace: burst.csv\nfleet: a10g-8b:2\nprofile: random\n')
  const byFile = await simulate('--scenario', 'scenario.yaml', '--json', '-')
  t.is(byFile.code, 0, byFile.err)
  t.is(JSON.parse(byFile.out).results[0].requests, 9)
  const byFlags = await simulate('burst.csv', '--fleet', 'a10g-8b:2', '--limit', '4e0', '--json', '-')
  t.is(JSON.parse(byFlags.out).results[0].requests, 4)
})

test('what is wrong is told by flag and fix: 2 for the call, 1 for the trace', async t => {
  const wrong = await simulate(...small, '--slo-ttft', 'soon')
  t.deepEqual([wrong.code, wrong.out], [2, ''])
  t.regex(wrong.err, /^--slo-ttft {2}expected .*got "soon"/)
  const none = await simulate(...small, '--rate', '0')
  t.is(none.err, '--rate  expected a number over 0, got 0\n')
  const map = await simulate('--synthetic', 'groups')
  t.deepEqual([map.code, map.err], [2, '--synthetic  expected name=value, got "groups"\n'])
  writeFileSync(join(folder, 'bad.jsonl'), '{"timestamp":0,"hash_ids":[]}\n')
  const trace = await simulate('bad.jsonl')
  t.is(trace.code, 1)
  t.regex(trace.err, /^bad\.jsonl:1: /)
  writeFileSync(join(folder, 'empty.jsonl'), '\n')
  t.is((await simulate('empty.jsonl')).err, 'empty.jsonl: is empty\n')
  const output = await simulate(...small, '--html', 'no/such/folder.html')
  t.is(output.code, 2)
  t.regex(
    output.err,
    /^--html {2}cannot write no\/such\/folder\.html/,
    'before the run, which may take an hour',
  )
  const onFolder = await simulate(...small, '--json', '.')
  t.is(onFolder.code, 2)
  t.regex(onFolder.err, /^--json {2}cannot write \.: it is a directory/)
})

test('help lists the pod classes', async t => {
  const { code, out } = await simulate('--help')
  t.is(code, 0)
  for (const name of ['a10g-8b', 'h100-8b', 'h100x2-32b', 'h100x8-70b'])
    t.regex(out, new RegExp(`^  ${name} `, 'm'))
})

/** A command line for the shell: `phyllo simulate` with more figures than a pipe takes at once, and its reader. */
async function piped(reader: string) {
  const fleet = ['--synthetic', 'groups=2,prompts=2', '--fleet', 'a10g-8b:128', '--json', '-']
  const line = `"$@" 2>piped.err | { ${reader}; }`
  const child = spawn(
    'bash',
    ['-o', 'pipefail', '-c', line, 'bash', process.execPath, main, 'simulate', ...fleet],
    {
      stdio: 'pipe',
      cwd: folder,
    },
  )
  child.stdin.end()
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, out, err: err + readFileSync(join(folder, 'piped.err'), 'utf8') }
}

test('figures for a reader that takes its time were cut off at 64 KiB, what a pipe holds, with exit code 0', async t => {
  // The reader waits until the run is over and the writer had half a second to leave.
  const { code, out, err } = await piped(
    'for i in {1..600}; do grep -q 4/4 piped.err && break; sleep 0.1; done; sleep 0.5; cat',
  )
  t.is(code, 0, err)
  t.true(out.length > 100_000, 'more than a pipe holds')
  t.is(JSON.parse(out).results[0].requests, 4)
})

test('a reader that has seen enough is no fault', async t => {
  const { code, out, err } = await piped('head -c 10')
  t.deepEqual([code, out.length], [0, 10], err)
  t.notRegex(err, /EPIPE|internal error/)
})
