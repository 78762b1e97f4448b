/**
 * All profiles that ship on recorded traffic, in virtual time: at three loads and three cache sizes, on conversations of
 * coding agents, and on fleets of 2 to 256 pods. Every run is deterministic, so there is one of each.
 */
import { printTable, type Row, updateReadme, writeResults } from '../lib/results.js'
import { type Outcome, PROFILES, type Setting } from './cells.js'
import { Crew } from './crew.js'
import { KeptCells } from './kept.js'
import { policyTables } from './tables.js'
import { type Cell, judge } from './verdict.js'

const DEFAULT = 'cache-aware'
/** Parts of the highest rate at which least-request meets the SLO. */
const LOADS = [0.5, 0.8, 1]
/** Half of the GPU's memory given to something else; all of it; and with three times as much behind it. */
const CACHES = [0.5, 1, 4]
const FLEETS = [2, 4, 8, 16, 32, 64, 128, 256]
/** For the table by fleet size: one that knows no caches, and those that do. */
const SCALED = ['least-request', 'cache-aware', 'sglang-cache-aware', 'dynamo', 'llm-d', 'lmetric', 'chwbl']

const SETTINGS: readonly Setting[] = [
  ...CACHES.map(cache => ({
    name: `mooncake_conversation, 8 pods, cache ×${cache}`,
    trace: 'mooncake' as const,
    pods: 8,
    cache,
  })),
  { name: 'swe_agent, 4 pods, cache ×1', trace: 'swe-agent', pods: 4, cache: 1 },
]

export async function benchPolicies({ quick }: { readonly quick: boolean }): Promise<void> {
  const kept = new KeptCells(quick)
  const crew = new Crew(quick, kept)
  try {
    // All at once, so that no core waits for a search.
    const [sizes, ...settings] = await Promise.all([
      fleetSizes(crew),
      ...SETTINGS.map(setting => cellsOf(crew, setting)),
    ])
    const cells = settings.flat()
    const rows = [...cells.flatMap(cellRows), ...sizes.flatMap(cellRows)]
    printTable(rows)
    const verdict = judge(cells, DEFAULT)
    console.log(
      `${DEFAULT} has the lowest mean TTFT in ${verdict.best} of ${verdict.cells} cells; at worst ` +
        `${verdict.worst.ratio.toFixed(3)} times that of ${verdict.worst.behind || 'none'} (${verdict.worst.cell || '-'})`,
    )
    for (const line of verdict.behind) console.log(`  ${line}`)
    if (quick) return
    writeResults('policies', ['npm run bench:policies'], rows)
    kept.forget()
    updateReadme('policies', policyTables(rows))
  } finally {
    crew.end()
  }
}

async function cellsOf(crew: Crew, setting: Setting): Promise<Cell[]> {
  const most = await crew.capacity(setting)
  console.log(`${setting.name}: least-request meets the SLO up to ${most.toFixed(2)} requests/s`)
  return Promise.all(
    LOADS.map(load =>
      cell(
        crew,
        `${setting.name}, load ${load} (${(most * load).toFixed(2)}/s)`,
        setting,
        most * load,
        PROFILES,
      ),
    ),
  )
}

/** The load a pod stays that of eight pods at 0.8 of their most, so that only the choice grows. */
async function fleetSizes(crew: Crew): Promise<Cell[]> {
  const setting: Setting = { name: 'by fleet size', trace: 'mooncake', pods: 8, cache: 1 }
  const each = ((await crew.capacity(setting)) * 0.8) / setting.pods
  return Promise.all(
    FLEETS.map(pods =>
      cell(crew, `mooncake_conversation, ${pods} pods`, { ...setting, pods }, each * pods, SCALED),
    ),
  )
}

async function cell(
  crew: Crew,
  name: string,
  setting: Setting,
  rate: number,
  profiles: readonly string[],
): Promise<Cell> {
  const kept = crew.kept.cell(name)
  const outcomes =
    kept ??
    (await Promise.all(
      profiles.map(
        async (profile): Promise<[string, Outcome]> => [
          profile,
          await crew.run({ ...setting, profile, rate }),
        ],
      ),
    ))
  if (kept === undefined) crew.kept.keep(name, outcomes)
  console.log(`${name}: ${bestOf(outcomes)}`)
  return { name, outcomes: new Map(outcomes) }
}

/** The first few by mean time to the first token, and the default, in ms. */
function bestOf(outcomes: readonly [string, Outcome][]): string {
  return outcomes
    .toSorted(([, a], [, b]) => a.ttftMeanMs - b.ttftMeanMs)
    .filter(([name], place) => place < 3 || name === DEFAULT)
    .map(([name, { ttftMeanMs }]) => `${name} ${ttftMeanMs.toFixed(0)}`)
    .join(', ')
}

function cellRows({ name, outcomes }: Cell): Row[] {
  return [...outcomes].flatMap(([profile, outcome]) => {
    const row = (metric: string, unit: string, value: number): Row => {
      const rounded = Number(value.toPrecision(4))
      return { case: name, subject: profile, metric, unit, min: rounded, med: rounded, max: rounded, n: 1 }
    }
    return [
      row('TTFT mean', 'ms', outcome.ttftMeanMs),
      row('TTFT p90', 'ms', outcome.ttftP90Ms),
      row('hit rate', '%', 100 * outcome.hitRate),
      row('in SLO', '%', 100 * outcome.inSlo),
    ]
  })
}
