/**
 * Is virtual time right? The same small workload by the clock, over HTTP to simulated engines in processes of their own
 * behind the real router, and in virtual time. Mean time to the first token and hit rate should agree within 10 %.
 */
import { configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { stateOptions } from '#phyllo/server/state-options.js'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { startFleet } from '#phyllo/simulation/fleet.js'
import { syntheticSchema, syntheticWorkload } from '#phyllo/simulation/traces/synthetic.js'
import { MODEL } from '#phyllo/simulation/virtual/router.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import type { Workload } from '#phyllo/simulation/virtual/workload.js'
import { printTable, type Row, summarise, updateReadme, writeResults } from '../lib/results.js'
import { type Measured, measureReal } from './real.js'

const PODS = 4
const PROFILES = ['round-robin', 'cache-aware'] as const
const ROUNDS = 2
/** Half of the model's speed: what HTTP, timers and a busy machine add then counts half, and it is not in the model. */
const SPEED = 0.5
/**
 * 28,800 tokens a pod: with what is under way, room for some of the twelve prefixes. Nearer to saturation, and with
 * less room, one and the same workload has outcomes that differ by a factor of two with who wins the ties: nothing that
 * two runs could agree in.
 */
const parameters = { ...a10gLlama8b, blocks: 1800 }
/** Runs in virtual time for each one by the clock, with other seeds: their mean is what to expect of a run. */
const SEEDS = 10

/** 40 s of requests by the model's clock; new ones for each round. */
const workloadOf = (seed: number, prompts: number): Workload =>
  syntheticWorkload(syntheticSchema.parse({ groups: 12, prompts, prefix: 3000, suffix: 400, output: 40 }), {
    rate: 1.5,
    thinkMs: 0,
    seed,
    limit: Number.POSITIVE_INFINITY,
  })

interface Pair {
  readonly real: Measured
  readonly virtual: Measured
}

export async function benchSimulate({ quick }: { readonly quick: boolean }): Promise<void> {
  const { blocks, blockSize } = parameters
  const fleet = await startFleet(PODS, { model: MODEL, blocks, speed: SPEED })
  const pairs = new Map<string, Pair[]>(PROFILES.map(profile => [profile, []]))
  try {
    for (let round = 1; round <= (quick ? 1 : ROUNDS); round++) {
      const workload = workloadOf(round, quick ? 2 : 5)
      for (const profile of PROFILES) {
        const real = await measureReal(fleet, profile, workload.requests, blockSize, SPEED)
        const virtual = await expectedOf(profile, workload)
        console.log(`round ${round}: ${profile}: over HTTP ${text(real)}; in virtual time ${text(virtual)}`)
        pairs.get(profile)?.push({ real, virtual })
      }
    }
  } finally {
    await fleet.close()
  }
  const rows = [...pairs].flatMap(([profile, all]) => rowsOf(profile, all))
  printTable(rows)
  if (!quick) updateReadme('simulate', writeResults('simulate', ['npm run bench -- simulate'], rows))
}

async function expectedOf(profile: string, workload: Workload): Promise<Measured> {
  const all: Measured[] = []
  for (let seed = 1; seed <= SEEDS; seed++) all.push(await measureVirtual(profile, workload, seed))
  const mean = (of: (measured: Measured) => number): number =>
    all.reduce((sum, each) => sum + of(each), 0) / all.length
  return { meanTtftMs: mean(each => each.meanTtftMs), hitRate: mean(each => each.hitRate) }
}

async function measureVirtual(name: string, workload: Workload, seed: number): Promise<Measured> {
  const profile = shippedProfiles(single()).find(each => each.name === name)
  if (profile === undefined) throw new Error(`no profile is named ${name}`)
  const { ttftMs, hitRate } = await simulate({
    workload,
    fleet: [{ name: 'pod', count: PODS, parameters, labels: {}, maxInflight: 0 }],
    profile,
    seed,
    eventLagMs: null,
    metricIntervalMs: 1000,
    metricAgeMs: 0,
    decisionMs: 0,
    slo: { ttftMs: 2000, tpotMs: 100 },
    state: stateOptions(toRouterOptions(configSchema.parse({}))),
  })
  return { meanTtftMs: ttftMs.mean, hitRate }
}

function rowsOf(profile: string, pairs: readonly Pair[]): Row[] {
  const row = (subject: string, metric: string, unit: string, of: (pair: Pair) => number): Row => ({
    case: profile,
    subject,
    metric,
    unit,
    ...summarise(pairs.map(of)),
  })
  const apart = (real: number, virtual: number): number => 100 * (virtual / real - 1)
  return [
    row('over HTTP', 'mean TTFT', 'ms', ({ real }) => real.meanTtftMs),
    row('in virtual time', 'mean TTFT', 'ms', ({ virtual }) => virtual.meanTtftMs),
    row('difference', 'mean TTFT', '%', ({ real, virtual }) => apart(real.meanTtftMs, virtual.meanTtftMs)),
    row('over HTTP', 'hit rate', '%', ({ real }) => 100 * real.hitRate),
    row('in virtual time', 'hit rate', '%', ({ virtual }) => 100 * virtual.hitRate),
    row('difference', 'hit rate', '%', ({ real, virtual }) => apart(real.hitRate, virtual.hitRate)),
  ]
}

const text = ({ meanTtftMs, hitRate }: Measured): string =>
  `TTFT ${meanTtftMs.toFixed(0)} ms, hits ${(100 * hitRate).toFixed(1)} %`
