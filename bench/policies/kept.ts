/**
 * Cells of a run that was broken off, so that the next one goes on behind them: all of them take half an hour of two
 * cores. They hold for one state of the code, whose simulations give the same to the last digit.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { rootDir } from '../lib/results.js'
import type { Outcome } from './cells.js'

const FILE = `${rootDir}.cache/bench-policies/kept.json`

const outcome = z.object({
  ttftMeanMs: z.number(),
  ttftP90Ms: z.number(),
  tpotP90Ms: z.number(),
  hitRate: z.number(),
  inSlo: z.number(),
  imbalance: z.number(),
})
const keptSchema = z.object({
  code: z.string(),
  rates: z.record(z.string(), z.number()),
  cells: z.record(z.string(), z.array(z.tuple([z.string(), outcome]))),
})

export class KeptCells {
  readonly #isUsed: boolean
  #kept: z.output<typeof keptSchema>

  /** `quick`: nothing is kept, and nothing read. */
  constructor(quick: boolean) {
    this.#isUsed = !quick
    const code = codeState()
    const read = quick ? undefined : readKept()
    this.#kept = read?.code === code ? read : { code, rates: {}, cells: {} }
    const count = Object.keys(this.#kept.cells).length
    if (count > 0) console.log(`${count} cells are kept from a run that was broken off`)
  }

  cell(name: string): [string, Outcome][] | undefined {
    return this.#kept.cells[name]
  }

  keep(name: string, outcomes: [string, Outcome][]): void {
    this.#kept.cells[name] = outcomes
    this.#write()
  }

  rate(name: string): number | undefined {
    return this.#kept.rates[name]
  }

  keepRate(name: string, rate: number): void {
    this.#kept.rates[name] = rate
    this.#write()
  }

  /** The run is whole. */
  forget(): void {
    rmSync(FILE, { force: true })
  }

  #write(): void {
    if (!this.#isUsed) return
    mkdirSync(dirname(FILE), { recursive: true })
    writeFileSync(FILE, JSON.stringify(this.#kept))
  }
}

function readKept(): z.output<typeof keptSchema> | undefined {
  try {
    return keptSchema.parse(JSON.parse(readFileSync(FILE, 'utf8')))
  } catch {
    return undefined
  }
}

/** What decides on the results: the sources that the simulation runs, as committed. */
function codeState(): string {
  try {
    const tree = (path: string): string =>
      execFileSync('git', ['rev-parse', `HEAD:${path}`], { cwd: rootDir })
        .toString()
        .trim()
    return ['src', 'native', 'bench/policies', 'bench/data'].map(tree).join(' ')
  } catch {
    return 'unknown'
  }
}
