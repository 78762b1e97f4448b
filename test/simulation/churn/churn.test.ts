/**
 * Exact through churn and loss: a fleet of pods that come and go while their events get lost, overtake each other and
 * come twice. A dead pod's blocks are never seen; when all is quiet, the index holds what the live pods' caches hold,
 * chain by chain, and its memory has not grown.
 *
 * Registry, event thread, native state, sockets and the engines' caches are the real ones; only HTTP is left out. The
 * minute that docs/design/cache-state.md reports takes PHYLLO_CHURN_SECONDS=60; by default it is one of six seconds.
 */
import test from 'ava'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import { Fleet } from './fleet.js'
import { CONVERSATIONS, keysOf } from './prompts.js'
import type { Truth } from './protocol.js'
import { Reader } from './reader.js'

const PODS = 64
const SECONDS = Number(process.env['PHYLLO_CHURN_SECONDS'] ?? 6)
/** Sixty pods come or go, whatever the time; some thirty more crash and come back. */
const CHANGES = 60
const TICK_MS = 100
const FAULTS = { loss: 0.01, reorder: 0.01, duplicates: 0.01 }
/** For the last replays; the test ends as soon as all agree. */
const DRAIN_MS = 60_000
/** Parts of the memory at the third quarter that it may have grown by at the end; the number of pods varies by a tenth. */
const MAY_GROW = 0.15

const chains = Array.from({ length: CONVERSATIONS }, (_, index) => keysOf(index))
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Leading blocks of a chain that are in a set. */
function depthIn(keys: ReadonlySet<number>, chain: Float64Array): number {
  const missing = chain.findIndex(key => !keys.has(key))
  return missing < 0 ? chain.length : missing
}

/** What was seen of pods while they lived: the deepest of each conversation. */
class Sightings {
  count = 0
  private readonly deepest = new Map<string, Map<number, number>>()

  note(id: string, index: number, depth: number): void {
    this.count++
    const seen = this.deepest.get(id) ?? new Map<number, number>()
    this.deepest.set(id, seen)
    seen.set(index, Math.max(depth, seen.get(index) ?? 0))
  }

  /** Blocks seen on pods that never had them: those of an earlier pod in the same slot. */
  strangers({ pods }: Truth): string[] {
    const wrong: string[] = []
    for (const { id, ever } of pods) {
      const keys = new Set(ever)
      for (const [index, depth] of this.deepest.get(id) ?? []) {
        const own = depthIn(keys, chains[index] ?? new Float64Array())
        if (depth > own)
          wrong.push(`${id}: ${depth} blocks of conversation ${index}, never had more than ${own}`)
      }
    }
    return wrong
  }
}

/** Where the index and the pods' caches differ; empty when they agree. */
function differences(reader: Reader, { pods }: Truth): string[] {
  const wrong: string[] = []
  const cached = new Map(pods.filter(pod => pod.isAlive).map(pod => [pod.id, new Set(pod.cached)]))
  for (const pod of reader.registry.pods) {
    const { isExact, blocks } = reader.status(pod)
    const own = cached.get(pod.id)
    if (!isExact) wrong.push(`${pod.id} is not exact`)
    if (blocks !== own?.size) wrong.push(`${pod.id} has ${own?.size} blocks, known are ${blocks}`)
  }
  for (const [index, chain] of chains.entries()) {
    const depths = new Map([...reader.depths(index)].map(([pod, depth]) => [pod.id, depth]))
    for (const [id, keys] of cached) {
      const [known, own] = [depths.get(id) ?? 0, depthIn(keys, chain)]
      if (known !== own) wrong.push(`${id} has ${own} blocks of conversation ${index}, known are ${known}`)
    }
  }
  return wrong
}

/** One pod comes or goes; every other time another one crashes and comes back at once, too. Tells what happened. */
async function change(
  reader: Reader,
  fleet: Fleet,
  random: () => number,
  next: () => string,
): Promise<string[]> {
  const happened: string[] = []
  const pick = () => reader.registry.pods[Math.floor(random() * reader.registry.pods.length)]
  const restarted = random() < 0.5 ? pick() : undefined
  if (restarted !== undefined) {
    await fleet.restart(restarted.id)
    happened.push('restarted')
  }
  const victim = pick()
  const surplus = reader.registry.pods.length - PODS
  if (victim === undefined || surplus <= -3 || (surplus < 3 && random() < 0.5)) {
    await join(reader, fleet, next())
    return [...happened, 'added']
  }
  // Now and then the router hears of it first, now and then last.
  const steps = [() => fleet.kill(victim.id), () => reader.remove(victim.id)]
  if (random() < 0.5) steps.reverse()
  for (const step of steps) await step()
  return [...happened, 'killed']
}

async function join(reader: Reader, fleet: Fleet, id: string): Promise<void> {
  await reader.add(id, await fleet.start(id))
}

test('the index is the union of the live pods’ caches after sixty deaths and births', async t => {
  t.timeout((SECONDS * 1000 + DRAIN_MS) * 2)
  const random = seededRandom(5)
  const reader = new Reader()
  const fleet = new Fleet(FAULTS, TICK_MS, 11)
  t.teardown(async () => {
    await fleet.close()
    await reader.close()
  })
  let ids = 0
  const next = (): string => `p${ids++}`
  await Promise.all(Array.from({ length: PODS }, () => join(reader, fleet, next())))

  const sightings = new Sightings()
  const faults: string[] = []
  const looking = setInterval(() => {
    const index = Math.floor(random() * CONVERSATIONS)
    try {
      for (const [pod, depth] of reader.depths(index)) sightings.note(pod.id, index, depth)
    } catch (error) {
      faults.push(String(error))
    }
  }, 2)
  const memory: { bytes: number; rss: number }[] = []
  const weighing = setInterval(() => {
    memory.push({ bytes: reader.bytes(), rss: process.memoryUsage.rss() })
  }, 100)
  t.teardown(() => {
    clearInterval(looking)
    clearInterval(weighing)
  })

  const changes = new Map<string, number>()
  for (let at = 0; at < CHANGES; at++) {
    await sleep((SECONDS * 1000) / CHANGES)
    for (const kind of await change(reader, fleet, random, next))
      changes.set(kind, (changes.get(kind) ?? 0) + 1)
  }
  clearInterval(weighing)

  await fleet.settle()
  const truth = await fleet.truth()
  const drainedBy = Date.now() + DRAIN_MS
  let left = differences(reader, truth)
  while (left.length > 0 && Date.now() < drainedBy) {
    await sleep(50)
    left = differences(reader, truth)
  }
  clearInterval(looking)

  report(t.log, reader, truth, changes, sightings, memory)
  t.deepEqual(faults.slice(0, 5), [], 'blocks of dead pods')
  t.deepEqual(sightings.strangers(truth).slice(0, 5), [], 'blocks of dead pods under a new pod’s name')
  for (const id of new Set(left.map(line => line.split(' ')[0] ?? ''))) {
    const pod = reader.registry.byId(id)
    t.log(id, pod === undefined ? 'gone' : JSON.stringify(reader.status(pod)), ...reader.said(id).slice(-10))
  }
  t.deepEqual(left.slice(0, 5), [], `${left.length} differences`)
  t.true(sightings.count > 1000 && truth.lost > 0, 'there was something to see, and something to lose')
  t.true(isCovered(truth), 'every cached block is in a chain that was compared')
  for (const [name, values] of Object.entries(columns(memory)))
    t.true(grown(values) < MAY_GROW, `${name} grew`)
})

/** Each live pod has one block more, of its last request. */
function isCovered({ pods }: Truth): boolean {
  const known = new Set(chains.flatMap(chain => [...chain]))
  return pods.every(({ cached }) => cached.filter(key => !known.has(key)).length <= 1)
}

const columns = (memory: readonly { bytes: number; rss: number }[]) => ({
  bytes: memory.map(({ bytes }) => bytes),
  rss: memory.map(({ rss }) => rss),
})

/** By which part the last quarter's highest value is above that of the quarter before. */
function grown(values: readonly number[]): number {
  const quarter = Math.floor(values.length / 4)
  const third = Math.max(...values.slice(2 * quarter, 3 * quarter))
  return Math.max(...values.slice(3 * quarter)) / third - 1
}

function report(
  log: (...values: string[]) => void,
  reader: Reader,
  truth: Truth,
  changes: ReadonlyMap<string, number>,
  sightings: Sightings,
  memory: readonly { bytes: number; rss: number }[],
): void {
  const statuses = reader.registry.pods.map(pod => reader.status(pod))
  const sum = (of: (status: (typeof statuses)[number]) => number): number =>
    statuses.reduce((total, status) => total + of(status), 0)
  const { requests, batches, lost, stored, removed, cleared } = truth
  log(
    `${[...changes].map(([kind, count]) => `${count} ${kind}`).join(', ')}; ${statuses.length} pods at the end`,
  )
  log(
    `${requests} requests, ${batches} batches (${lost} lost), blocks: ${stored} stored, ${removed} removed, ${cleared} resets`,
  )
  log(
    `pods alive at the end: ${sum(s => s.blocks)} blocks, ${sum(s => s.gaps)} gaps, ${sum(s => s.replays)} replays, ` +
      `${sum(s => s.lost)} batches lost for good, ${sum(s => s.orphans)} orphans, ${sum(s => s.restarts)} restarts, ` +
      `${sum(s => s.duplicates)} duplicates, ${sum(s => s.malformed)} malformed`,
  )
  log(`${sightings.count} depths looked at on the way`)
  for (const [name, values] of Object.entries(columns(memory))) {
    const at = (part: number): string =>
      `${((values[Math.floor(part * (values.length - 1))] ?? 0) / 2 ** 20).toFixed(1)}`
    log(`${name}, MiB at 0, ¼, ½, ¾ and the end: ${[0, 0.25, 0.5, 0.75, 1].map(at).join(', ')}`)
  }
}
