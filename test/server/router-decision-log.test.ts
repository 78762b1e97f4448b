/** The decision log of a whole router: what its workers write, that it can be replayed, and that it harms nobody. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { Replayer } from '#phyllo/decision/record/replayer.js'
import { type DecisionRecord, decisionRecord } from '#phyllo/decision/record/schema.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { answerWith } from '../execution/kit-pods.js'
import {
  chatAnswer,
  chatBody,
  enginesFor,
  forEachEngine,
  join,
  podOf,
  post,
  rawPodFor,
  routerFor,
  sharedRouter,
  type TestRouter,
  until,
  user,
  workerCounts,
} from './router-kit.js'

function logPath(t: ExecutionContext): string {
  const dir = mkdtempSync(joinPath(tmpdir(), 'decision-log-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return joinPath(dir, 'decisions.jsonl')
}

const read = (path: string): DecisionRecord[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => decisionRecord.parse(JSON.parse(line)))

async function metric(router: TestRouter, name: string): Promise<number> {
  const page = await (await router.admin('GET', '/metrics')).text()
  const line = page.split('\n').find(text => text.startsWith(`${name} `))
  return Number(line?.split(' ')[1])
}

const profileOf = (name: string) => {
  const found = shippedProfiles(single()).find(profile => profile.name === name)
  if (found === undefined) throw new Error(`no profile ${name}`)
  return found
}

/** Conversations that share beginnings, some with a session, over as many connections as fetch likes. */
async function talk(router: TestRouter, requests: number): Promise<void> {
  const ask = async (i: number) => {
    const session = { 'x-session-id': `visitor-${i % 5}@example.com` }
    const content = `${'a leaf on a stem '.repeat(20 * (i % 3))} confidential ${i % 7}`
    const answer = await post(router, chatBody({ messages: [user(content)] }), i % 2 === 0 ? session : {})
    if (answer.status !== 200) throw new Error(await answer.text())
    await answer.text()
  }
  for (let i = 0; i < requests; i += 6) {
    await Promise.all(Array.from({ length: Math.min(6, requests - i) }, (_, k) => ask(i + k)))
  }
}

forEachEngine(engine => {
  const workers = Math.max(...workerCounts(engine))

  for (const profile of ['cache-aware', 'session-sticky', 'round-robin']) {
    test(`${engine}, ${workers} workers, ${profile}: a line a request, replayed to the same picks`, async t => {
      const path = logPath(t)
      const { pods } = await enginesFor(t, 3)
      const router = await routerFor(t, engine, {
        pods,
        listen: { workers },
        defaults: { profile },
        decisionLog: { path, rate: 1 },
      })
      await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
      await talk(router, 60)
      await router.close()

      const lines = read(path)
      t.is(lines.length, 60)
      t.notRegex(readFileSync(path, 'utf8'), /example\.com|confidential|leaf on a stem|secret-key/)
      t.is(new Set(lines.map(({ id }) => id)).size, 60)
      const replayer = new Replayer(profileOf(profile), () => 0.5)
      for (const line of lines) {
        t.is(line.profile, profile)
        t.is(line.outcome.status, 200)
        t.is(line.outcome.pod, line.decision.ranking[0] ?? '')
        t.true((line.prompt.tokens ?? 0) > 0)
        t.true((line.outcome.ttftMs ?? -1) >= 0)
        const again = replayer.decide(line)
        t.deepEqual(again.ranking, line.decision.ranking)
        t.is(again.missingDraws, 0)
      }
      t.true(
        lines.some(({ outcome }) => (outcome.cachedTokens ?? 0) > 0),
        'engines told what they had cached',
      )
      // Without events pods hold what was learned of them, and round-robin learns nothing.
      if (profile === 'round-robin') return
      t.true(lines.some(({ pods: { cached } }) => cached?.some(tokens => tokens > 0) === true))
      t.true(lines.some(({ pods: { cache } }) => cache?.ageMs.some(age => age !== null) === true))
    })
  }
})

test('a line says by which workflow the request went, and why', async t => {
  const path = logPath(t)
  const { pods } = await enginesFor(t, 1)
  const profile = { pick: 'random', execute: 'prefill-decode/generic' }
  const router = await routerFor(t, 'node', {
    pods: pods.map(pod => ({ ...pod, role: 'decode' as const })),
    profiles: { pair: profile },
    defaults: { profile: 'pair' },
    decisionLog: { path, rate: 1 },
  })
  await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
  t.is((await post(router, chatBody({ messages: [user('hi')] }))).status, 200)
  await router.close()
  const [line] = read(path)
  t.deepEqual(
    line?.ways?.map(({ workflow }) => workflow),
    ['whole'],
  )
  t.regex(line?.ways?.[0]?.why ?? '', /uncached tokens/)
})

test('a path that cannot be written: requests are served, lines counted as lost', async t => {
  const path = logPath(t)
  mkdirSync(path)
  const { pods } = await enginesFor(t, 2)
  const router = await routerFor(t, 'node', { pods, decisionLog: { path, rate: 1 } })
  await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
  await talk(router, 6)
  await until(
    async () => (await metric(router, 'phyllo_decision_log_dropped_total{cause="not_written"}')) === 6,
    'the lines are counted',
  )
  t.is(await metric(router, 'phyllo_decision_log_lines_total'), 0)
  t.is(await metric(router, 'phyllo_decision_log_pending_bytes'), 0)
})

test('a rate of 0 writes nothing; the body is written only where it is asked for', async t => {
  const [none, some] = [logPath(t), logPath(t)]
  const { pods } = await enginesFor(t, 1)
  for (const [path, rate] of [
    [none, 0],
    [some, 1],
  ] as const) {
    const router = await routerFor(t, 'node', { pods, decisionLog: { path, rate, prompt: true } })
    await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
    await talk(router, 3)
    await router.close()
  }
  t.false(existsSync(none))
  t.regex(read(some)[0]?.body ?? '', /confidential/)
})

const shared = sharedRouter('node', { defaults: { profile: 'round-robin' } })

test('explaining takes no turn: requests go round as if nobody had asked', async t => {
  const pods = await Promise.all(
    ['a', 'b', 'c'].map(async id => {
      const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
      return [id, pod.origin] as const
    }),
  )
  const router = await join(t, await shared(), Object.fromEntries(pods))
  const served: string[] = []
  for (let i = 0; i < 9; i++) {
    served.push(await podOf(router))
    for (let k = 0; k <= i % 3; k++) await (await router.admin('POST', '/explain', chatBody())).text()
  }
  const start = 'abc'.indexOf(served[0] ?? '')
  t.deepEqual(
    served,
    Array.from({ length: 9 }, (_, i) => 'abc'[(start + i) % 3] ?? ''),
  )
})

test('explaining writes no session and counts nothing', async t => {
  const { pods } = await enginesFor(t, 3)
  const router = await routerFor(t, 'node', { pods, defaults: { profile: 'session-sticky' } })
  await until(async () => (await router.pods()).every(pod => pod.healthy === true), 'pods are healthy')
  const headers = { 'x-session-id': 'new' }
  for (let i = 0; i < 4; i++) {
    const answer: { selections: { sessionPod: string | null }[] } = JSON.parse(
      await (await router.admin('POST', '/explain', chatBody(), headers)).text(),
    )
    t.is(answer.selections[0]?.sessionPod, null)
  }
  t.is(await metric(router, 'phyllo_sessions'), 0)
  for (const pod of await router.pods()) t.like(pod, { inflight: 0, pendingTokens: 0, activeTokens: 0 })
})
