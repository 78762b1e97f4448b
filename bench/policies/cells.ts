/** What is compared: workloads, cache sizes, loads, fleets; and how a cell of the table is run. */
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { loadOptions } from '#phyllo/simulation/options/load.js'
import { scenariosOf } from '#phyllo/simulation/options/scenarios.js'
import { type SimulationResult, simulate } from '#phyllo/simulation/virtual/simulate.js'
import { benchDir } from '../lib/results.js'

/** Every profile that ships, by name. */
export const PROFILES: readonly string[] = shippedProfiles(single()).map(({ name }) => name)

/** A trace on a fleet, without its rate. */
export interface Setting {
  readonly name: string
  readonly trace: 'mooncake' | 'swe-agent'
  /** Pods, of an H100 with an 8B model each. */
  readonly pods: number
  /** Tokens that a pod's KV cache holds, as a multiple of what the GPU has room for. */
  readonly cache: number
}

export interface Run extends Setting {
  readonly profile: string
  /** Requests per second. */
  readonly rate: number
}

export interface Outcome {
  readonly ttftMeanMs: number
  readonly ttftP90Ms: number
  readonly tpotP90Ms: number
  readonly hitRate: number
  /** Part of all requests that met the SLO. */
  readonly inSlo: number
  readonly imbalance: number
}

/** Tokens for which an H100 has room beside an 8B model: (0.92 · 85.5 GB − 20.1 GB) / 131 kB, as its pod class has it. */
const KV_TOKENS = 447_000

/** The first third of the trace, 20 minutes as recorded: as many requests as allow all cells in half an hour. */
const MOONCAKE_REQUESTS = 4000
/** The trace's own blocks: hit rates are within a tenth of a percentage point of those at 16, in two thirds of the time. */
const MOONCAKE_BLOCK = 512
/** Of 20 turns each on average, with up to 30,000 tokens of real text: a run takes a minute of CPU. */
const SWE_CONVERSATIONS = 32

export async function run({ trace, pods, cache, profile, rate }: Run, quick: boolean): Promise<Outcome> {
  const part = quick ? 0.1 : 1
  const source =
    trace === 'mooncake'
      ? { trace: `${benchDir}data/mooncake_conversation_trace.jsonl.zst`, limit: MOONCAKE_REQUESTS * part }
      : { trace: `${benchDir}data/swe_agent_trajectories.jsonl.zst`, conversations: SWE_CONVERSATIONS * part }
  const values = {
    ...source,
    profile,
    rate,
    fleet: `h100-8b:${pods}`,
    kvTokens: Math.round(KV_TOKENS * cache),
    blockSize: trace === 'mooncake' ? MOONCAKE_BLOCK : 16,
  }
  const overrides = Object.entries(values).map(([key, value]) => ({ flag: `--${key}`, path: [key], value }))
  const [scenario] = scenariosOf(loadOptions(undefined, overrides))
  if (scenario === undefined) throw new Error('no scenario')
  return outcomeOf(await simulate(scenario))
}

function outcomeOf(result: SimulationResult): Outcome {
  return {
    ttftMeanMs: result.ttftMs.mean,
    ttftP90Ms: result.ttftMs.p90,
    tpotP90Ms: result.tpotMs.p90,
    hitRate: result.hitRate,
    inSlo: result.goodput.fraction,
    imbalance: result.imbalance.inflight,
  }
}

/** Requests of which as many must be in the SLO for the fleet to meet it. */
const MEETS = 0.9
/** The rate is found within so much of itself. */
const PRECISION = 1.05

/** The highest rate at which least-request meets the SLO, requests/s: doubled until it does not, then halved in. */
export async function capacity(setting: Setting, quick: boolean): Promise<number> {
  const meets = async (rate: number): Promise<boolean> =>
    (await run({ ...setting, profile: 'least-request', rate }, quick)).inSlo >= MEETS
  let good = setting.pods / 8
  while (await meets(good * 2)) good *= 2
  let bad = good * 2
  while (bad / good > PRECISION) {
    const middle = Math.sqrt(good * bad)
    if (await meets(middle)) good = middle
    else bad = middle
  }
  return good
}
