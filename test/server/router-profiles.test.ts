/**
 * Each shipped profile over HTTP, with one and with three worker threads: what a profile promises must hold whichever
 * worker a request comes to. Pods are raw sockets, so that requests can be held on them.
 */
import test, { type ExecutionContext } from 'ava'
import { answerWith, type PodRequest } from '../execution/kit-pods.js'
import { ask } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  countBy,
  errorOf,
  forEachEngine,
  join,
  nothingInFlight,
  rawPodFor,
  sharedRouter,
  type TestRouter,
  until,
  user,
  workerCounts,
} from './router-kit.js'

const shipped = [
  'random',
  'round-robin',
  'least-request',
  'cache-aware',
  'session-sticky',
  'consistent-hash',
] as const
type Profile = (typeof shipped)[number] | 'capped'
/** One model a profile, so that one router has them all. */
const names: readonly Profile[] = [...shipped, 'capped']

/** Pods that answer at once, or hold what comes until they are told to let go. */
async function podsFor(t: ExecutionContext, router: TestRouter, count: number) {
  const held: PodRequest[] = []
  const state = { holding: false }
  const answer = ({ socket }: PodRequest) => socket.write(answerWith(200, chatAnswer))
  const pods = await Promise.all(
    Array.from({ length: count }, () =>
      rawPodFor(t, request => (state.holding ? held.push(request) : answer(request))),
    ),
  )
  const urls = pods.map(({ origin }, i) => [`p${i}`, origin] as const)
  await join(t, router, Object.fromEntries(urls), { models: names })
  const release = () => {
    state.holding = false
    for (const request of held.splice(0)) answer(request)
  }
  t.teardown(release)
  return {
    pods,
    held,
    release,
    hold: () => {
      state.holding = true
    },
  }
}

/** A chat on a connection of its own, so that any of the workers may get it; gives its pod, or its error's code. */
async function chat(router: TestRouter, profile: Profile, fields: Record<string, unknown> = {}) {
  const body = chatBody({ model: profile, ...fields })
  const answer = await ask(router.port, { path: '/v1/chat/completions', body })
  return answer.status === 200 ? String(answer.headers['x-phyllo-pod']) : errorOf(answer.body).code
}

async function inTurn(count: number, one: (i: number) => Promise<string>): Promise<string[]> {
  const served: string[] = []
  for (let i = 0; i < count; i++) served.push(await one(i))
  return served
}

const atOnce = (count: number, one: (i: number) => Promise<string>): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => one(i)))

const prompt = (name: string) => ({ messages: [user(`${name}: a leaf on a stem `.repeat(60))] })

forEachEngine(engine => {
  for (const workers of workerCounts(engine)) {
    const where = `${engine}, ${workers} worker${workers > 1 ? 's' : ''}`
    const shared = sharedRouter(engine, {
      listen: { workers },
      models: names.map(name => ({ name, profile: name })),
      profiles: {
        capped: {
          filter: ['healthy', 'circuit-closed', { 'concurrency-cap': { max: 4 } }],
          score: ['least-load'],
          pick: 'max-score',
          execute: 'single',
        },
      },
    })

    test.serial(`round-robin (${where}): exactly even, one after the other and all at once`, async t => {
      const router = await shared()
      const { pods } = await podsFor(t, router, 3)
      const even = { p0: 15, p1: 15, p2: 15 }
      t.deepEqual(countBy(await inTurn(45, () => chat(router, 'round-robin'))), even)
      // Each worker has connections of its own to a pod: all of them have served, or the rest proves nothing.
      const connections = pods.map(pod => new Set(pod.inference().map(({ socket }) => socket)).size)
      t.true(Math.max(...connections) >= workers, String(connections))
      t.deepEqual(countBy(await atOnce(45, () => chat(router, 'round-robin'))), even)
    })

    test.serial(`random (${where}): every pod has its share`, async t => {
      const router = await shared()
      await podsFor(t, router, 3)
      const counts = countBy(await atOnce(150, () => chat(router, 'random')))
      // 50 expected each, with a deviation of 5.8: five of them are passed once in a million runs.
      for (const id of ['p0', 'p1', 'p2'])
        t.true(Math.abs((counts[id] ?? 0) - 50) < 29, JSON.stringify(counts))
    })

    test.serial(`least-request (${where}): requests in flight stay close together`, async t => {
      const router = await shared()
      const { pods, held, hold, release } = await podsFor(t, router, 3)
      hold()
      const asked = atOnce(30, () => chat(router, 'least-request'))
      await until(() => held.length === 30, 'all are on their pods')
      const counts = pods.map(pod => pod.inference().length)
      // Each worker may decide on a snapshot that the others have just made old.
      t.true(Math.max(...counts) - Math.min(...counts) <= workers, String(counts))
      release()
      t.is((await asked).length, 30)
    })

    test.serial(
      `cache-aware (${where}): a prefix goes where it is cached, but not on top of a queue`,
      async t => {
        const router = await shared()
        const { pods, held, hold, release } = await podsFor(t, router, 3)
        const homes = new Map<string, string>()
        for (let i = 0; i < 9; i++)
          homes.set(`user ${i}`, await chat(router, 'cache-aware', prompt(`user ${i}`)))
        t.true(new Set(homes.values()).size > 1, 'they are spread, or the rest proves nothing')
        for (const [name, home] of homes) {
          const again = await inTurn(3, () => chat(router, 'cache-aware', prompt(name)))
          t.deepEqual(again, [home, home, home], name)
        }
        const before = pods.map(pod => pod.inference().length)
        hold()
        const asked = atOnce(36, () => chat(router, 'cache-aware', prompt('user 0')))
        await until(() => held.length === 36, 'all are on their pods')
        const counts = pods.map((pod, i) => pod.inference().length - (before[i] ?? 0)).sort((a, b) => a - b)
        // A full hit is worth 8 requests, or half of the least load; and each worker may be one behind.
        const [least = 0] = counts
        t.true((counts.at(-1) ?? 0) - least <= Math.max(8, least / 2) + workers, String(counts))
        release()
        await asked
      },
    )

    test.serial(
      `session-sticky (${where}): a session stays on its pod, and has one from its first moment`,
      async t => {
        const router = await shared()
        const { held, hold, release } = await podsFor(t, router, 3)
        const homes = new Map<string, Set<string>>()
        for (let round = 0; round < 4; round++) {
          await atOnce(12, async i => {
            const session = `session ${i}`
            // A prompt of its own: with a shared one, its pod would draw them all, which is right too.
            const said = prompt(`${session}, turn ${round}`)
            const id = await chat(router, 'session-sticky', { user: session, ...said })
            homes.set(session, (homes.get(session) ?? new Set()).add(id))
            return id
          })
        }
        for (const [session, pods] of homes) t.is(pods.size, 1, `${session}: ${[...pods]}`)
        t.true(new Set([...homes.values()].flatMap(pods => [...pods])).size > 1)
        // A client that opens a session with several requests at once: they race through all workers. (With more than ten,
        // its pod would have so many more requests than another that the profile lets the session go.)
        hold()
        const asked = atOnce(8, i => chat(router, 'session-sticky', { user: 'new', ...prompt(`part ${i}`) }))
        await until(() => held.length === 8, 'all are on their pods')
        release()
        t.is(new Set(await asked).size, 1)
      },
    )

    test.serial(`consistent-hash (${where}): a key has its pod; the cap holds when all want one`, async t => {
      const router = await shared()
      const { pods, held, hold, release } = await podsFor(t, router, 4)
      const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`)
      const ask = () =>
        inTurn(keys.length, async i => {
          // A key's pod has no room while the request before is still booked there.
          await nothingInFlight(router)
          return chat(router, 'consistent-hash', { user: keys[i] })
        })
      const homes = await ask()
      t.true(new Set(homes).size > 1)
      t.deepEqual(await ask(), homes)
      const before = pods.map(pod => pod.inference().length)
      hold()
      const asked = atOnce(32, () => chat(router, 'consistent-hash', { user: 'key 0' }))
      await until(() => held.length === 32, 'all are on their pods')
      const counts = pods.map((pod, i) => pod.inference().length - (before[i] ?? 0))
      t.true(Math.max(...counts) <= Math.ceil((1.25 * 32) / 4), String(counts))
      release()
      t.deepEqual([...new Set(await asked)].sort(), ['p0', 'p1', 'p2', 'p3'])
      // The others keep their places when a pod leaves.
      const [gone = ''] = homes
      await router.admin('POST', `/pods/${gone}/cordon`)
      const moved = await ask()
      moved.forEach((id, i) => {
        if (homes[i] === gone) t.not(id, gone)
        else t.is(id, homes[i] ?? '')
      })
    })

    test.serial(
      `concurrency-cap (${where}): exactly as many as may be, the rest are told to come back`,
      async t => {
        const router = await shared()
        const { pods, held, hold, release } = await podsFor(t, router, 2)
        hold()
        const asked = atOnce(30, () => chat(router, 'capped'))
        await until(() => held.length === 8, 'both are full')
        // Whoever is refused has its answer now; those on a pod have not.
        await until(async () => {
          const page = await (await router.admin('GET', '/metrics')).text()
          return /phyllo_errors_total\{code="overloaded"\} 22\n/.test(page)
        }, 'the rest are refused')
        t.deepEqual(
          pods.map(pod => pod.inference().length),
          [4, 4],
        )
        release()
        const answers = countBy(await asked)
        t.deepEqual(answers, { p0: 4, p1: 4, overloaded: 22 })
        await nothingInFlight(router)
        hold()
        const again = atOnce(8, () => chat(router, 'capped'))
        await until(() => held.length === 8, 'all places are free again')
        release()
        t.deepEqual(countBy(await again), { p0: 4, p1: 4 })
      },
    )
  }
})
