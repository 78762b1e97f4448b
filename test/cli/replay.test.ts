/** `phyllo replay` and the table of `phyllo explain`, as users meet them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { z } from 'zod'
import { explanation } from '#phyllo/cli/explain/explanation.js'
import { explanationText } from '#phyllo/cli/explain/table.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { Trace } from '#phyllo/decision/trace.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { FakeFleet } from '../decision/fake-addon.js'
import { seeded, TestWorker } from '../decision/helpers.js'
import { decideAndLog, shake, someFleet } from '../decision/record/kit.js'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'phyllo-replay-'))
test.after.always(() => rmSync(folder, { recursive: true }))

async function phyllo(args: readonly string[], input = '') {
  const child = spawn(process.execPath, [main, ...args], { stdio: 'pipe', cwd: folder })
  child.stdin.end(input)
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, out, err }
}

const find = (name: string) => {
  const found = shippedProfiles(single()).find(profile => profile.name === name)
  if (found === undefined) throw new Error(`no profile ${name}`)
  return found
}

/** Lines of a fleet of six under a profile. */
function lines(name: string, count: number): string[] {
  const random = seeded(9)
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(fleet, someFleet(6, random))
  const compiled = worker.compile(find(name))
  return Array.from({ length: count }, () => {
    shake(fleet, 6, random)
    return decideAndLog(worker, compiled, random).line
  })
}

const log = lines('cache-aware', 40)
writeFileSync(join(folder, 'd.jsonl'), `${log.join('\n')}\n`)
writeFileSync(
  join(folder, 'other.yaml'),
  'profiles:\n  spread:\n    filter: [healthy, circuit-closed]\n    score: [least-load]\n    pick: max-score\n    execute: single\n',
)

const report = z.object({
  profile: z.string(),
  decisions: z.number(),
  samePicks: z.number(),
  sameShare: z.number(),
  moves: z.array(z.object({ from: z.string(), to: z.string(), requests: z.number() })),
  cachedTokens: z.object({ logged: z.number(), replayed: z.number(), gained: z.number(), lost: z.number() }),
  badLines: z.object({
    count: z.number(),
    first: z.array(z.object({ line: z.number(), fault: z.string() })),
  }),
  notes: z.array(z.string()),
})

test('the same profile by name: all picks the same', async t => {
  const { code, out, err } = await phyllo(['replay', 'd.jsonl', '--profile', 'cache-aware', '--json'])
  t.deepEqual([code, err], [0, ''])
  const found = report.parse(JSON.parse(out))
  t.is(found.decisions, 40)
  t.is(found.samePicks, 40)
  t.deepEqual(found.moves, [])
  t.deepEqual(found.notes, [])
})

test('another profile from a file: the sums agree with each other, and the notes say what they are not', async t => {
  const { code, out } = await phyllo(['replay', 'd.jsonl', '--profile', 'other.yaml', '--json'])
  t.is(code, 0)
  const found = report.parse(JSON.parse(out))
  t.is(found.profile, 'spread')
  t.true(found.samePicks < 40)
  t.is(
    found.moves.reduce((sum, { requests }) => sum + requests, found.samePicks),
    40,
  )
  const { logged, replayed, gained, lost } = found.cachedTokens
  t.is(replayed - logged, gained - lost)
  t.regex(found.notes.join('\n'), /phyllo simulate/)
  const shown = await phyllo(['replay', 'd.jsonl', '--profile', 'other.yaml'])
  t.regex(shown.out, /^40 decisions, logged with cache-aware \(40\), decided again with spread\n/)
  t.regex(shown.out, /Not reproduced:/)
})

test('a profile of several steps is decided again in one pick, and says so; workflows of the file are those of --config', async t => {
  const own = 'pick: random\nexecute: mine\n'
  writeFileSync(join(folder, 'own.yaml'), own)
  writeFileSync(join(folder, 'router.yaml'), 'workflows:\n  mine: { steps: [{ name: a }, { name: b }] }\n')
  const alone = await phyllo(['replay', 'd.jsonl', '--profile', 'own.yaml'])
  t.regex(alone.err, /unknown execute plugin 'mine'/)
  const { code, out, err } = await phyllo([
    ...['replay', 'd.jsonl', '--profile', 'own.yaml'],
    ...['--config', 'router.yaml', '--json'],
  ])
  t.is(code, 0, err)
  const { notes } = report.parse(JSON.parse(out))
  t.regex(notes.join('\n'), /served by workflow 'mine': one pick of each request is decided again/)
  const whole = await phyllo(['replay', 'd.jsonl', '--profile', 'router.yaml'])
  t.regex(whole.err, /router.yaml has workflows of its own, which are read from --config alone/)
})

test('bad lines are named and passed over; standard input is read', async t => {
  const [first = '', second = ''] = log
  const future = JSON.stringify({ ...JSON.parse(second), v: 2 })
  const { endpoint: _, ...part } = JSON.parse(second)
  const input = [first, '{ half', '', future, '7', JSON.stringify(part), second].join('\n')
  const { code, out } = await phyllo(['replay', '-', '--profile', 'random', '--json'], input)
  t.is(code, 0)
  const { decisions, badLines } = report.parse(JSON.parse(out))
  t.is(decisions, 2)
  t.is(badLines.count, 4)
  t.deepEqual(
    badLines.first.map(({ line }) => line),
    [2, 4, 5, 6],
  )
  t.regex(
    badLines.first.map(({ fault }) => fault).join('\n'),
    /^no JSON.*\n.*v is 2.*\n.*v is missing.*\nendpoint/,
  )
})

const wrong: Record<string, { args: string[]; code: number; says: RegExp }> = {
  'no profile': { args: ['d.jsonl'], code: 2, says: /--profile/ },
  'an unknown profile': {
    args: ['d.jsonl', '--profile', 'cash-aware'],
    code: 2,
    says: /--profile {2}no profile and no file is named 'cash-aware' — write cache-aware/,
  },
  'a missing log': { args: ['none.jsonl', '--profile', 'random'], code: 1, says: /cannot read none\.jsonl/ },
  'a log of nothing': {
    args: ['empty.jsonl', '--profile', 'random'],
    code: 1,
    says: /no decision to replay/,
  },
  'a bad profile': {
    args: ['d.jsonl', '--profile', 'bad.yaml'],
    code: 1,
    says: /^bad\.yaml:1:9 .*unknown score plugin 'least-lode'; did you mean 'least-load'/m,
  },
}
writeFileSync(join(folder, 'empty.jsonl'), '')
writeFileSync(join(folder, 'bad.yaml'), 'score: [least-lode]\npick: max-score\nexecute: single\n')
for (const [name, { args, code, says }] of Object.entries(wrong)) {
  test(`replay refuses ${name}`, async t => {
    const result = await phyllo(['replay', ...args])
    t.is(result.code, code)
    t.regex(result.err, says)
  })
}

test('the table of an explanation: a row a pod, best first, dropped ones with the reason', t => {
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    someFleet(4, () => 0.9),
  )
  fleet.cached = new Map([[2, 800]])
  fleet.set('breaker', 1, 1)
  fleet.set('ready', 3, 0)
  const trace = new Trace(worker.pods)
  const ctx = worker.request({ messages: [] }, ['x-session-id', 's-1'])
  const compiled = worker.compile(find('cache-aware'))
  compiled.prepare(ctx, trace)
  compiled.select(ctx, worker.pool, worker.ranking, trace)
  const shown = explanationText(explanation.parse(JSON.parse(JSON.stringify(trace))))
  const rows = shown.split('\n').filter(line => line.startsWith('│'))
  t.deepEqual(
    rows.map(row => row.split('│')[1]?.trim()),
    ['pod', 'pod-2', 'pod-0', 'pod-1', 'pod-3'],
  )
  t.regex(rows[1] ?? '', /800 .*predicted.*pick/)
  t.regex(rows[2] ?? '', /fall-back 1/)
  t.regex(rows[3] ?? '', /dropped by circuit-closed: its circuit is open/)
  t.regex(rows[4] ?? '', /dropped by healthy: down, cordoned or leaving/)
  t.regex(shown, /^prompt {4}1000 tokens \(the model's own\)/m)
  t.regex(shown, /^session {3}s-1$/m)
  t.regex(shown, /^times .*prepare .*pick .*µs$/m)
})
