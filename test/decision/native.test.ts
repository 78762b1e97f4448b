/** The shipped profiles on the real addon, with one and with three threads of one process. */
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { z } from 'zod'
import { loadNative, type PodRef } from '#phyllo/data/native.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import { MODEL, single } from './helpers.js'
import type { Orders } from './native-worker.js'

const PODS = 5
let states = 0

function fleet() {
  const name = `decision-${states++}`
  const state = loadNative().SharedState.open(name, { ...STATE_OPTIONS, virtualClock: false })
  const refs: PodRef[] = Array.from({ length: PODS }, (_, i) => state.addPod(`pod-${i}`))
  for (const ref of refs) state.activatePod(ref)
  return { name, refs, model: state.addModel(MODEL, { blockSize: 16 }) }
}

/** Runs the users' requests split over so many threads; answers [user, slot] of each. */
async function run(profile: string, users: readonly string[], threads: number, release: boolean) {
  const { name, refs, model } = fleet()
  const shares = Array.from({ length: threads }, (_, thread) =>
    users.filter((_, i) => i % threads === thread),
  )
  const slots = await Promise.all(
    shares.map(async share => {
      const workerData: Orders = { state: name, profile, model, refs, users: share, release }
      const worker = new Worker(new URL('./native-worker.js', import.meta.url), { workerData })
      const answer: unknown = await new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      return z.array(z.number()).parse(answer)
    }),
  )
  return shares.flatMap((share, thread) => share.map((user, i) => ({ user, slot: slots[thread]?.[i] ?? -1 })))
}

const perPod = (served: readonly { slot: number }[]): number[] =>
  Array.from({ length: PODS }, (_, slot) => served.filter(each => each.slot === slot).length)

const users = (requests: number, different: number): string[] =>
  Array.from({ length: requests }, (_, i) => `user-${i % different}`)

for (const threads of [1, 3]) {
  const where = threads === 1 ? 'one thread' : 'three threads'

  // Found so: the binding took cursor names as strings while the contract says numbers.
  for (const { name } of shippedProfiles(single())) {
    test.serial(`${name}, ${where}: every request finds a pod`, async t => {
      const served = await run(name, users(90, 9), threads, true)
      t.is(served.length, 90)
      t.true(served.every(({ slot }) => slot >= 0 && slot < PODS))
    })
  }

  test.serial(`round-robin, ${where}: exactly even`, async t => {
    t.deepEqual(perPod(await run('round-robin', users(300, 7), threads, true)), [60, 60, 60, 60, 60])
  })

  test.serial(`least-request, ${where}: in-flight requests stay close together`, async t => {
    const counts = perPod(await run('least-request', users(150, 7), threads, false))
    // Each thread may decide on a snapshot that the others have just made old.
    t.true(Math.max(...counts) - Math.min(...counts) <= threads, String(counts))
  })

  test.serial(`session-sticky, ${where}: a session lives on one pod, whichever thread serves it`, async t => {
    // 100 sessions, so that with three threads each session comes through all of them.
    const served = await run('session-sticky', users(1000, 100), threads, true)
    const homes = new Map(served.map(({ user, slot }) => [user, slot]))
    for (const { user, slot } of served) t.is(slot, homes.get(user) ?? -1, user)
    t.is(new Set(homes.values()).size, PODS)
  })

  test.serial(`consistent-hash, ${where}: the bound holds when all want one pod`, async t => {
    const counts = perPod(await run('consistent-hash', users(120, 1), threads, false))
    t.is(
      counts.reduce((sum, count) => sum + count, 0),
      120,
    )
    t.true(Math.max(...counts) <= Math.ceil((1.25 * 120) / PODS), String(counts))
  })
}
