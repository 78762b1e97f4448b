import test from 'ava'
import { STANDING, type Standing } from '#phyllo/data/adapter-table.js'
import { ownBoard } from '#phyllo/data/fleet-board.js'
import { hashWord } from '#phyllo/data/hash.js'
import type { Pod } from '#phyllo/data/pod-registry.js'
import { mostPerTick, tickMs } from '#phyllo/data/scrape/schedule.js'
import { Scraper } from '#phyllo/data/scrape/scraper.js'
import { FakeWorld, podAt, vllmPage } from './fake-world.js'

const OPTIONS = { intervalMs: 1000, fastMs: 250, timeoutMs: 2000, path: '/metrics' }
const TICK_MS = tickMs(OPTIONS)
const LLAMACPP = 'llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n'
const down = { kind: 'connection', reason: 'cannot be reached (ECONNREFUSED)' } as const
const notFound = { kind: 'page', reason: 'answers 404' } as const

/** A scraper in a world of its own, and what it told. */
function scraperIn(world: FakeWorld, options: Partial<typeof OPTIONS> = {}) {
  const loads: (readonly [ref: number, running: number, waiting: number, kvUse: number])[] = []
  const caches: (readonly [ref: number, blockSize: number, blocks: number, variant: number])[] = []
  /** Requests of the router's on a pod. */
  const booked = new Map<number, number>()
  const blockSizes: [pod: string, blockSize: number][] = []
  const faults: [pod: string, reason: string][] = []
  const { adapters } = ownBoard()
  const scraper = new Scraper(
    {
      setEngineLoad: (...load) => void loads.push(load),
      setPodCache: (...cache) => void caches.push(cache),
      podStatus: (ref, out) => {
        out[0] = booked.get(ref) ?? 0
        return true
      },
    },
    adapters,
    { ...OPTIONS, ...options },
    {
      onBlockSize: (pod, blockSize) => void blockSizes.push([pod.id, blockSize]),
      onFault: (pod, reason) => void faults.push([pod.id, reason]),
    },
    world,
  )
  return { scraper, loads, caches, booked, blockSizes, faults, adapters }
}

function fleet(world: FakeWorld, count: number, page: () => string): Pod[] {
  return Array.from({ length: count }, (_, slot) => {
    const pod = podAt(slot)
    const engine = world.engine(pod.origin)
    engine.reply = page
    // Real answers do not come in step.
    engine.latencyMs = 1 + (slot % 20)
    return pod
  })
}

const asked = (world: FakeWorld) =>
  [...world.engines.values()].flatMap(engine => engine.asked.map(({ at }) => at))

/** How many of the times fall into each slice. */
function slices(times: readonly number[], from: number, to: number, ms: number): number[] {
  const counts = new Array<number>(Math.round((to - from) / ms)).fill(0)
  for (const at of times) {
    const i = Math.floor((at - from) / ms)
    if (i in counts) counts[i] = (counts[i] ?? 0) + 1
  }
  return counts
}

test('256 pods added together: one look a second each, no bursts, never two at a time', t => {
  const world = new FakeWorld()
  const { scraper, loads } = scraperIn(world)
  for (const pod of fleet(world, 256, () => vllmPage())) scraper.watch(pod)
  world.pass(60_000)
  const times = asked(world)
  // 256 × 60, and 256 more to tell that asking by name works.
  t.true(times.length > 256 * 57 && times.length < 256 * 64, String(times.length))
  t.true([...world.engines.values()].every(({ most }) => most === 1))
  // From the first second on: 25.6 a tick on average.
  const ticks = slices(times, 0, 60_000, TICK_MS)
  t.true(Math.max(...ticks) <= mostPerTick(OPTIONS, 256), String(Math.max(...ticks)))
  for (const second of slices(times, 2_000, 60_000, 1000))
    t.true(second > 200 && second < 320, String(second))
  for (const { asked: each } of world.engines.values()) {
    const gaps = each.slice(3).map(({ at }, i) => at - (each[i + 2]?.at ?? 0))
    t.true(Math.min(...gaps) >= 900 - TICK_MS && Math.max(...gaps) <= 1100 + 2 * TICK_MS, String(gaps))
  }
  t.is(new Set(loads.map(([ref]) => ref)).size, 256)
  scraper.stop()
  // Answers that were under way.
  world.pass(1000)
  t.is(world.waiting, 0)
})

test('after a stall of the event loop the looks spread again', t => {
  const world = new FakeWorld()
  const { scraper } = scraperIn(world)
  for (const pod of fleet(world, 256, () => LLAMACPP)) scraper.watch(pod)
  world.pass(10_000)
  const before = asked(world).length
  world.stall(30_000)
  world.pass(20_000)
  const times = asked(world).slice(0)
  const ticks = slices(
    times.filter(at => at >= 40_000),
    40_000,
    60_000,
    TICK_MS,
  )
  t.true(Math.max(...ticks) <= mostPerTick(OPTIONS, 256))
  t.true(times.length - before > 256 * 17)
  scraper.stop()
})

test('a pod with a queue or a full cache is looked at more often, and no longer when that is over', t => {
  for (const busy of [{ waiting: 1 }, { kvUse: 0.9 }]) {
    const world = new FakeWorld()
    const { scraper } = scraperIn(world)
    let page = vllmPage()
    for (const pod of fleet(world, 2, () => page)) scraper.watch(pod)
    world.engine('http://pod-1:8000').reply = () => vllmPage({ waiting: 0, kvUse: 0.89, running: 300 })
    const perSecond = (origin: string) => {
      const before = world.engine(origin).asked.length
      world.pass(10_000)
      return (world.engine(origin).asked.length - before) / 10
    }
    world.pass(5_000)
    t.true(perSecond('http://pod-0:8000') < 1.2)
    page = vllmPage(busy)
    world.pass(2_000)
    const fast = perSecond('http://pod-0:8000')
    t.true(fast > 3 && fast <= 4.5, String(fast))
    t.true(perSecond('http://pod-1:8000') < 1.2)
    page = vllmPage()
    world.pass(2_000)
    t.true(perSecond('http://pod-0:8000') < 1.2)
    scraper.stop()
  }
})

test('a fleet that is saturated as a whole costs no more than twice as much', t => {
  const world = new FakeWorld()
  const { scraper } = scraperIn(world)
  for (const pod of fleet(world, 256, () => vllmPage({ waiting: 9 }))) scraper.watch(pod)
  world.pass(5_000)
  const before = asked(world).length
  world.pass(20_000)
  const perSecond = (asked(world).length - before) / 20
  t.true(perSecond > 200 && perSecond <= 2 * 256, String(perSecond))
  scraper.stop()
})

for (const [what, reply] of [
  ['down', () => down],
  ['without metrics', () => notFound],
  ['of an unknown kind', () => 'process_cpu_seconds_total 1\n'],
  ['silent', () => undefined],
] as const) {
  test(`a pod that is ${what} is asked less and less, down to twice a minute, and at the normal rate once it answers`, t => {
    const world = new FakeWorld()
    const { scraper, loads, faults } = scraperIn(world)
    const [pod] = fleet(world, 1, () => LLAMACPP)
    if (pod === undefined) return t.fail()
    const engine = world.engine(pod.origin)
    engine.reply = reply
    scraper.watch(pod)
    world.pass(600_000)
    const gaps = engine.asked.slice(1).map(({ at }, i) => at - (engine.asked[i]?.at ?? 0))
    for (const [i, gap] of gaps.entries()) {
      const wanted = Math.min(30_000, 1000 * 2 ** (i + 1))
      t.true(gap > wanted * 0.9 - TICK_MS && gap < wanted * 1.1 + 2 * TICK_MS + 500, `${gap} after ${i}`)
    }
    t.is(loads.length, 0)
    t.is(scraper.status(pod)?.failures, faults.length)
    t.not(scraper.status(pod)?.fault, undefined)
    t.is(scraper.status(pod)?.reading, undefined)
    engine.reply = () => LLAMACPP
    world.pass(60_000)
    const before = engine.asked.length
    world.pass(10_000)
    t.true(engine.asked.length - before >= 9)
    t.is(scraper.status(pod)?.fault, undefined)
    t.is(scraper.status(pod)?.failures, faults.length)
    t.true((scraper.status(pod)?.ageMs ?? Number.NaN) < 1_200)
    scraper.stop()
  })
}

test('a pod that came back is looked at at once, however long it was down', t => {
  const world = new FakeWorld()
  const { scraper, loads } = scraperIn(world)
  const [pod] = fleet(world, 1, () => LLAMACPP)
  if (pod === undefined) return t.fail()
  const engine = world.engine(pod.origin)
  engine.reply = () => down
  scraper.watch(pod)
  world.pass(300_000)
  engine.reply = () => LLAMACPP
  scraper.hurry(pod)
  world.pass(2 * TICK_MS)
  t.is(loads.length, 1)
  world.pass(5_000)
  t.true(loads.length >= 5)
  // Twice is no harm, during a look neither.
  engine.latencyMs = 500
  while (engine.asked.length === 0 || loads.length === engine.asked.length) world.pass(TICK_MS)
  scraper.hurry(pod)
  scraper.hurry(pod)
  world.pass(5_000)
  t.is(engine.most, 1)
  scraper.stop()
})

test('a silent pod is given up after the time-out, and its connection closed', t => {
  const world = new FakeWorld()
  const { scraper, faults } = scraperIn(world)
  const pod = podAt(0)
  scraper.watch(pod)
  world.pass(1_000)
  t.is(world.engine(pod.origin).asked.length, 1)
  world.pass(2_100)
  t.deepEqual(faults, [['pod-0', 'does not answer within 2000 ms']])
  t.is(world.engine(pod.origin).destroyed, 1)
  scraper.stop()
})

test('the state is told of loads each time, of the cache when it changes', t => {
  const world = new FakeWorld()
  const { scraper, loads, caches, blockSizes } = scraperIn(world)
  const pod = podAt(3)
  let page = vllmPage({ running: 5, waiting: 0, kvUse: 0.5 })
  world.engine(pod.origin).reply = () => page
  scraper.watch(pod)
  world.pass(5_000)
  t.true(loads.length >= 4)
  t.deepEqual(loads[0], [pod.ref, 5, 0, 0.5])
  t.deepEqual(caches, [[pod.ref, 16, 100, -1]])
  t.deepEqual(blockSizes, [['pod-3', 16]])
  // More blocks (a restart with another setting), the same size.
  page = vllmPage({ blocks: 200 })
  world.pass(2_000)
  t.deepEqual(caches.slice(1), [[pod.ref, 16, 200, -1]])
  t.is(blockSizes.length, 1)
  page = vllmPage({ blockSize: 32, blocks: 100 })
  world.pass(2_000)
  t.deepEqual(blockSizes.slice(1), [['pod-3', 32]])
  t.like(scraper.status(pod), { reading: { blockSize: 32, blocks: 100 } })
  // A page that no longer says leaves what is known.
  page = page.replace(/vllm:cache_config_info.*/, '')
  world.pass(3_000)
  t.is(caches.length, 3)
  t.is(blockSizes.length, 2)
  scraper.stop()
})

test('the ranks of an engine share one page, and each has its own numbers', t => {
  const world = new FakeWorld()
  const { scraper, loads, faults, caches } = scraperIn(world)
  const origin = 'http://engine:8000'
  const pods = [0, 1, 2].map(rank => podAt(rank, origin, rank))
  world.engine(origin).reply = () => vllmPage({ running: 10, ranks: 2, blocks: 50 })
  for (const pod of pods) scraper.watch(pod)
  world.pass(3_100)
  const looks = world.engine(origin).asked.length
  t.true(looks <= 5, String(looks))
  t.deepEqual(loads.slice(0, 2), [
    [pods[0]?.ref, 10, 0, 0],
    [pods[1]?.ref, 11, 0, 0],
  ])
  t.deepEqual(
    caches.map(([, , blocks]) => blocks),
    [50, 50],
  )
  t.deepEqual(faults[0], ['pod-2-dp2', 'has no metrics of data-parallel rank 2'])
  // One of them goes: the others are still looked at.
  for (const pod of pods.slice(0, 1)) scraper.forget(pod)
  t.is(world.engine(origin).destroyed, 0)
  const before = loads.length
  world.pass(2_000)
  t.true(loads.slice(before).every(([ref]) => ref === pods[1]?.ref))
  t.true(loads.length > before)
  for (const pod of pods) scraper.forget(pod)
  t.is(world.engine(origin).destroyed, 1)
})

test('a pod that is removed during a look: nothing more is told of it', t => {
  const world = new FakeWorld()
  const { scraper, loads, faults } = scraperIn(world)
  const [pod] = fleet(world, 1, () => LLAMACPP)
  if (pod === undefined) return t.fail()
  world.engine(pod.origin).latencyMs = 100
  scraper.watch(pod)
  while (world.engine(pod.origin).asked.length === 0) world.pass(TICK_MS)
  scraper.forget(pod)
  t.is(scraper.status(pod), undefined)
  t.is(world.engine(pod.origin).destroyed, 1)
  world.pass(60_000)
  t.deepEqual([loads, faults], [[], []])
  t.is(world.engine(pod.origin).asked.length, 1)
  t.is(world.waiting, 0)
})

test('lines are asked for by name where that works, and the whole page is taken where it does not', t => {
  const world = new FakeWorld()
  const { scraper, loads, faults } = scraperIn(world)
  const [works, ignores, empty, missing, loses] = fleet(world, 5, () => vllmPage())
  const replies: [Pod | undefined, (path: string) => string | typeof notFound][] = [
    [works, () => vllmPage()],
    [ignores, () => `${vllmPage()}vllm:other 1\n`.repeat(1)],
    [empty, path => (path.includes('?') ? '' : vllmPage())],
    [missing, path => (path.includes('?') ? notFound : vllmPage())],
    [
      loses,
      path =>
        path.includes('?')
          ? vllmPage().replaceAll(/vllm:num_requests_waiting.*/g, '')
          : vllmPage({ waiting: 2 }),
    ],
  ]
  for (const [pod, reply] of replies) {
    if (pod === undefined) return t.fail()
    world.engine(pod.origin).reply = reply
    scraper.watch(pod)
  }
  world.pass(20_000)
  t.deepEqual(faults, [])
  const paths = (pod: Pod | undefined) => world.engine(pod?.origin ?? '').asked.map(({ path }) => path)
  const byName =
    '/metrics/?name%5B%5D=vllm%3Anum_requests_running&name%5B%5D=vllm%3Anum_requests_waiting&name%5B%5D=vllm%3Akv_cache_usage_perc&name%5B%5D=vllm%3Acache_config_info&name%5B%5D=vllm%3Alora_requests_info'
  for (const pod of [works, ignores]) t.deepEqual([...new Set(paths(pod))], ['/metrics', byName])
  t.is(paths(works).filter(path => path === '/metrics').length, 1)
  for (const pod of [empty, missing, loses]) {
    t.deepEqual(paths(pod).slice(0, 3), ['/metrics', byName, '/metrics'])
    t.is(paths(pod).filter(path => path === byName).length, 1)
    t.true(loads.filter(([ref]) => ref === pod?.ref).length > 15)
  }
  t.true(loads.filter(([ref]) => ref === loses?.ref).every(([, , waiting]) => waiting === 2))
  scraper.stop()
})

test('trtllm-serve is found where it has its page', t => {
  const world = new FakeWorld()
  const { scraper, loads, faults } = scraperIn(world)
  const pod = podAt(0)
  const page =
    'trtllm_num_requests_running{model_name="m"} 3\ntrtllm_num_requests_waiting{model_name="m"} 1\n'
  world.engine(pod.origin).reply = path => (path === '/prometheus/metrics' ? page : '[{"iter":1}]')
  scraper.watch(pod)
  world.pass(20_000)
  t.deepEqual(faults, [['pod-0', 'has no metrics of a known engine']])
  t.deepEqual(loads[0], [pod.ref, 3, 1, 0])
  scraper.stop()
})

test('another engine behind the same address is seen for what it is', t => {
  const world = new FakeWorld()
  const { scraper, faults } = scraperIn(world)
  const pod = podAt(0)
  const engine = world.engine(pod.origin)
  engine.reply = () => vllmPage({ running: 1 })
  scraper.watch(pod)
  world.pass(5_000)
  t.is(scraper.status(pod)?.reading?.engine, 'vllm')
  engine.reply = () => LLAMACPP
  world.pass(3_000)
  t.is(scraper.status(pod)?.reading?.engine, 'llama.cpp')
  engine.reply = () => vllmPage({ running: 2 })
  world.pass(3_000)
  t.like(scraper.status(pod)?.reading, { engine: 'vllm', running: 2 })
  t.deepEqual(faults, [])
  scraper.stop()
})

test('with an interval of 0 nothing is looked at', t => {
  const world = new FakeWorld()
  const { scraper } = scraperIn(world, { intervalMs: 0 })
  const pod = podAt(0)
  scraper.watch(pod)
  world.pass(60_000)
  t.is(world.engines.size, 0)
  t.is(scraper.status(pod), undefined)
})

test('pods come and go at random: none is looked at after it went, and nothing is left over', t => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = new FakeWorld(seed)
    const { scraper, loads } = scraperIn(world)
    const replies = [
      () => vllmPage({ waiting: 1 }),
      () => LLAMACPP,
      () => down,
      () => notFound,
      () => undefined,
    ]
    const here = new Map<number, Pod>()
    for (let step = 0; step < 300; step++) {
      const slot = Math.floor(world.random() * 20)
      const pod = here.get(slot)
      if (pod === undefined) {
        const added = podAt(slot)
        world.engine(added.origin).reply =
          replies[Math.floor(world.random() * replies.length)] ?? (() => undefined)
        world.engine(added.origin).latencyMs = world.random() * 400
        here.set(slot, added)
        scraper.watch(added)
      } else {
        scraper.forget(pod)
        here.delete(slot)
      }
      const before = loads.length
      world.pass(world.random() * 400)
      const present = new Set([...here.values()].map(({ ref }) => ref))
      for (const [ref] of loads.slice(before)) t.true([...present].includes(ref as never))
    }
    t.true([...world.engines.values()].every(({ most }) => most <= 1))
    scraper.stop()
    const total = asked(world).length
    world.pass(60_000)
    t.is(asked(world).length, total)
    t.is(world.waiting, 0)
  }
})

test('requests that ended while the page was on its way are nobody else’s', t => {
  const world = new FakeWorld()
  const { scraper, loads, booked } = scraperIn(world)
  const pod = podAt(0)
  const engine = world.engine(pod.origin)
  engine.latencyMs = 40
  // Two of another router's, and ours as they are when the engine writes the page, which is as it is asked.
  engine.reply = () => vllmPage({ running: 2 + (booked.get(pod.ref) ?? 0), waiting: 1 })
  const others = () => {
    const [, running = 0, waiting = 0] = loads.at(-1) ?? []
    return running + waiting - (booked.get(pod.ref) ?? 0)
  }
  booked.set(pod.ref, 10)
  scraper.watch(pod)
  const looksAt = (change: number): void => {
    const asked = engine.asked.length
    while (engine.asked.length === asked) world.pass(1)
    booked.set(pod.ref, (booked.get(pod.ref) ?? 0) + change)
    world.pass(engine.latencyMs)
  }
  for (const change of [0, -6, -4, 0]) {
    looksAt(change)
    t.is(others(), 3)
  }
  looksAt(5)
  t.true(others() <= 3, 'what came since is not in the page')
  booked.set(pod.ref, 20)
  engine.reply = () => vllmPage()
  looksAt(-20)
  t.is(loads.at(-1)?.[1], 0, 'never below nothing')
})

const lora = (running: string, waiting: string, max = 2, seconds = 1.789828498802105e9): string =>
  `vllm:lora_requests_info{max_lora="${max}",running_lora_adapters="${running}",waiting_lora_adapters="${waiting}"} ${seconds}\n`

test('adapters: what the page names, what was sent since it was asked for, and nothing of a pod that is gone', t => {
  const world = new FakeWorld()
  // As long as a real one, which makes a difference to what it is searched for.
  const others = 'other_seconds_bucket{le="0.5"} 17\n'.repeat(2000)
  let page = `# HELP vllm:lora_requests_info Running stats on lora requests.\n${vllmPage()}\n${others}`
  const [pod] = fleet(world, 1, () => page)
  if (pod === undefined) throw new Error('unreachable')
  const { scraper, adapters } = scraperIn(world)
  const standing = (name: string): Standing => adapters.standing(0, hashWord(name))
  const sent = (name: string): void => adapters.used(0, hashWord(name))
  scraper.watch(pod)
  world.pass(5000)
  sent('a')
  t.is(standing('a'), STANDING.untold, 'no engine says anything before its first request')
  // The series come up on a page whose other lines were found long ago, at its end or its top.
  page = `${lora('a', '')}${vllmPage()}\n${others}`
  world.pass(2000)
  t.is(standing('a'), STANDING.active)
  t.is(standing('b'), STANDING.room)
  sent('b')
  t.is(standing('b'), STANDING.active, 'it has taken the last place')
  t.is(standing('c'), STANDING.full)
  sent('c')
  t.is(standing('c'), STANDING.waiting)
  page = `${vllmPage()}\n${lora('a', '', 2, 1.7e9)}${lora('b', 'c')}`
  world.pass(2000)
  t.is(standing('a'), STANDING.full, 'the page is newer than what was sent')
  t.is(standing('b'), STANDING.active)
  t.is(standing('c'), STANDING.waiting)
  t.deepEqual(scraper.status(pod)?.reading?.adapters, { max: 2, running: ['b'], waiting: ['c'] })
  // Sent while the page was under way: the engine had written it before, perhaps.
  world.engine(pod.origin).latencyMs = 500
  const looks = asked(world).length
  page = `${vllmPage()}\n${lora('b', '', 3)}`
  while (asked(world).length === looks) world.pass(10)
  sent('d')
  t.is(standing('d'), STANDING.waiting)
  world.pass(500)
  t.is(standing('d'), STANDING.active)
  t.is(standing('a'), STANDING.room)
  for (const rest of ['', others]) {
    page = `${vllmPage()}\n${rest}`
    world.pass(6000)
    t.is(standing('b'), STANDING.untold, 'it has stopped to say so')
    page += lora('b', '', 3)
    // Without an announcement, some pages of a long one are not searched for it.
    world.pass(rest === '' ? 3000 : 20_000)
    t.is(standing('b'), STANDING.active)
  }
  scraper.forget(pod)
  t.is(standing('b'), STANDING.untold)
  scraper.stop()
})
