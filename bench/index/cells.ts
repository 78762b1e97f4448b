/** What the index bench measures: its tables, and the cells of each. */

export type Scenario = 'fan8' | 'tree8' | 'sys8' | 'best8'

/** A cell: a workload of `cells/src/shape.rs`. */
export interface Cell {
  readonly scenario: Scenario
  /** W: pods. */
  readonly pods: number
  /** D: blocks a query. */
  readonly depth: number
}

export type TableName = 'queries' | 'large' | 'latency' | 'removal' | 'updates' | 'memory' | 'churn'

/** How one table is measured. */
export interface Plan {
  readonly table: TableName
  readonly cells: readonly Cell[]
  readonly rounds: number
  /** Milliseconds of one measurement: CPU time in `queries` and `large`, wall time in `latency`, else unused. */
  readonly ms: number
  /** At least so many (pod, block) pairs; without it about half a million. */
  readonly pairs?: number
}

export const scenarios: readonly Scenario[] = ['fan8', 'tree8', 'sys8', 'best8']

const cross = (pods: readonly number[], depths: readonly number[]): Cell[] =>
  scenarios.flatMap(scenario => pods.flatMap(w => depths.map(depth => ({ scenario, pods: w, depth }))))

const depths = [64, 512, 2048]
const every = cross([16, 128, 512], depths)
const middle = cross([128], [512])
const wideSystemPrompt: Cell = { scenario: 'sys8', pods: 512, depth: 512 }

export const fullPlans: readonly Plan[] = [
  { table: 'queries', cells: every, rounds: 5, ms: 80 },
  { table: 'large', cells: every, rounds: 3, ms: 200, pairs: 2 ** 24 },
  { table: 'latency', cells: [...middle, wideSystemPrompt], rounds: 7, ms: 500 },
  { table: 'removal', cells: middle, rounds: 31, ms: 0 },
  { table: 'updates', cells: [...cross([128], depths), ...cross([512], [512])], rounds: 5, ms: 0 },
  { table: 'memory', cells: middle, rounds: 3, ms: 0 },
  { table: 'churn', cells: middle, rounds: 1, ms: 0, pairs: 2 ** 22 },
]

/** Whether it works: little of everything. */
export const quickPlans: readonly Plan[] = [
  { table: 'queries', cells: [...cross([16], [64]), ...middle, wideSystemPrompt], rounds: 2, ms: 5 },
  { table: 'large', cells: cross([16], [64]), rounds: 2, ms: 5, pairs: 2 ** 20 },
  { table: 'latency', cells: middle.slice(0, 2), rounds: 2, ms: 50 },
  { table: 'removal', cells: middle.slice(0, 2), rounds: 2, ms: 0 },
  { table: 'updates', cells: middle, rounds: 2, ms: 0 },
  { table: 'memory', cells: middle.slice(0, 2), rounds: 1, ms: 0 },
  { table: 'churn', cells: middle.slice(0, 1), rounds: 1, ms: 0, pairs: 2 ** 21 },
]

export const cellName = ({ scenario, pods, depth }: Cell): string => `${scenario} W=${pods} D=${depth}`
export const caseName = (table: TableName, cell: Cell): string => `${table}: ${cellName(cell)}`
