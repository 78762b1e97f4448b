/** The index's goals, each with what this run says of it. */
import { type Cell, cellName, type TableName } from './cells.js'
import {
  geometricMean,
  greatest,
  least,
  metric,
  number,
  type Ratio,
  type Results,
  subject,
} from './results.js'

export interface Goal {
  readonly goal: string
  readonly result: string
  readonly verdict: Verdict
}

/** The third: the machine itself, without what is judged, does not meet it either, and by as much. */
export type Verdict = 'met' | 'missed' | 'as the control'

const verdict = (met: boolean): Verdict => (met ? 'met' : 'missed')

type Check = (results: Results) => Goal[]

const at = ({ cell, ratio }: Ratio): string => `${number(ratio)} (${cellName(cell)})`

/** A goal over the cells of a table, left out if there are none. */
function over(
  ratios: readonly Ratio[],
  goal: string,
  judge: (ratios: readonly Ratio[]) => Omit<Goal, 'goal'>,
) {
  return ratios.length === 0 ? [] : [{ goal, ...judge(ratios) }]
}

/** In every cell the best peer must cost at least `wanted` times as much. */
const inEvery = (wanted: number) => (ratios: readonly Ratio[]) => {
  const worst = least(ratios)
  const below = ratios.filter(({ ratio }) => ratio < wanted).length
  return {
    result: `least × ${worst === undefined ? '' : at(worst)}; below in ${below} of ${ratios.length} cells`,
    verdict: verdict(below === 0),
  }
}

/** In no cell may it be more than `limit`. */
const atMost = (limit: number, unit: string) => (values: readonly Ratio[]) => {
  const worst = greatest(values)
  const above = values.filter(({ ratio }) => ratio > limit).length
  return {
    result: `greatest ${worst === undefined ? '' : `${number(worst.ratio)} ${unit} (${cellName(worst.cell)})`}; above in ${above} of ${values.length} cells`,
    verdict: verdict(above === 0),
  }
}

/** The medians of one metric of ours. */
const ours = (results: Results, table: TableName, what: string, wanted = (_: Cell) => true): Ratio[] =>
  results
    .cells(table)
    .filter(wanted)
    .flatMap(cell => {
      const row = results.row(table, cell, subject.phyllo, what)
      return row === undefined ? [] : [{ cell, ratio: row.med }]
    })

const queries: Check = results => {
  const ratios = results.ratios('queries', metric.query)
  const wide = ratios.filter(({ cell }) => cell.scenario === 'sys8' && cell.pods === 512)
  return [
    ...over(ratios, 'query: best peer ≥ 1.5 × phyllo in every cell', inEvery(1.5)),
    ...over(ratios, 'query: ≥ 4 × in the geometric mean', all => {
      const mean = geometricMean(all)
      return { result: `× ${number(mean)}`, verdict: verdict(mean >= 4) }
    }),
    ...over(wide, 'query: ≥ 8 × in sys8, W=512', inEvery(8)),
    ...over(
      results.ratios('queries', metric.fromTokens),
      'tokens → ranked pods: no peer faster in any cell',
      inEvery(1),
    ),
    ...over(
      results.ratios('large', metric.query),
      'query, 16 million pairs: no peer faster in any cell',
      inEvery(1),
    ),
  ]
}

/** CPU a query of two threads over that of one. */
function twoThreads(results: Results, of: typeof subject.phyllo | typeof subject.apart): Ratio[] {
  return results.cells('queries').flatMap(cell => {
    const one = results.row('queries', cell, subject.phyllo, metric.query)
    const two = results.row('queries', cell, of, metric.twoThreads)
    return one === undefined || two === undefined ? [] : [{ cell, ratio: two.med / one.med }]
  })
}

const threads: Check = results =>
  over(twoThreads(results, subject.phyllo), 'query: two threads cost ≤ 1.1 × the CPU of one', ratios => {
    const control = geometricMean(twoThreads(results, subject.apart))
    const judged = atMost(1.1, '×')(ratios)
    const mean = number(geometricMean(ratios))
    return { ...judged, result: `mean × ${mean} (an index a thread: × ${number(control)}); ${judged.result}` }
  })

const latency: Check = results =>
  over(
    ours(results, 'latency', 'p99, updates'),
    'query: p99 < 10 µs while 500,000 block events/s are applied',
    atMost(10, 'µs'),
  )

const updates: Check = results =>
  [metric.store, metric.remove, metric.clear].flatMap(what =>
    over(ours(results, 'updates', what), `${what.replace(' CPU', '')}: ≤ 60 ns a block`, atMost(60, 'ns')),
  )

/**
 * Of each cell's rounds the median of the longest query. The machine interrupts a thread for tens of microseconds
 * without taking the core from it, removal or not, so the control decides whether that is the index's doing.
 */
const removal: Check = results =>
  over(
    ours(results, 'removal', 'longest not preempted, pod removed'),
    'removal of a pod with 100,000 blocks: no query delayed by > 20 µs',
    values => {
      const control = ours(results, 'removal', 'longest not preempted, control')
      const slower = values.filter(({ ratio }, i) => ratio > 20 && ratio > 1.25 * (control[i]?.ratio ?? 0))
      const judged = atMost(20, 'µs')(values)
      const all = (some: readonly Ratio[]) => some.map(({ ratio }) => number(ratio)).join(', ')
      return {
        result: `${judged.result}; medians ${all(values)} µs, control ${all(control)} µs`,
        verdict: slower.length === 0 && judged.verdict === 'missed' ? 'as the control' : judged.verdict,
      }
    },
  )

const memory: Check = results =>
  (
    [
      ['fan8', 15],
      ['tree8', 40],
    ] as const
  ).flatMap(([scenario, bytes]) =>
    over(
      ours(results, 'memory', 'heap, filled', cell => cell.scenario === scenario),
      `memory: ≤ ${bytes} heap bytes a pair in ${scenario}`,
      atMost(bytes, 'bytes'),
    ),
  )

const names: Check = results =>
  over(
    ours(results, 'memory', 'heap, engine hashes'),
    'memory: engine hashes ≤ 24 heap bytes a pair besides',
    atMost(24, 'bytes'),
  )

/** What an emptied index keeps of its memory. */
const emptied: Check = results =>
  over(
    ours(results, 'churn', 'heap, filled and emptied').map(({ cell, ratio }) => ({
      cell,
      ratio: ratio / (results.row('churn', cell, subject.phyllo, 'heap, filled')?.med ?? 0),
    })),
    'memory: returns after churn (at most a tenth is kept, 4 million pairs)',
    atMost(0.1, 'of it'),
  )

export const goals: Check = results =>
  [queries, threads, latency, updates, removal, memory, names, emptied].flatMap(check => check(results))
