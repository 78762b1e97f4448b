/** The Rust program of the index bench (`cells/`): builds it, and asks it for one round after the other. */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { z } from 'zod'
import { tie } from '../lib/child.js'
import { rootDir } from '../lib/results.js'
import { type Cell, caseName, type Plan } from './cells.js'

const target = join(rootDir, '.cache', 'bench-index')

export interface Sample {
  readonly subject: string
  readonly metric: string
  readonly unit: string
  readonly value: number
}

const sample = z.object({ subject: z.string(), metric: z.string(), unit: z.string(), value: z.number() })
const ready = z.object({ ready: z.literal(true), pairs: z.number(), groups: z.number() })
const done = z.object({ done: z.number() })
const line = z.union([sample, ready, done])

export function buildProgram(): void {
  const build = spawnSync('cargo', ['build', '--release', '--target-dir', target], {
    cwd: join(rootDir, 'bench', 'index', 'cells'),
    stdio: 'inherit',
  })
  if (build.status !== 0) throw new Error('the index bench did not build')
}

function programArguments({ table, ms, pairs }: Plan, cell: Cell): string[] {
  const size = pairs === undefined ? [] : ['--pairs', String(pairs)]
  const shape = ['--scenario', cell.scenario, '--pods', String(cell.pods), '--depth', String(cell.depth)]
  return [table, ...shape, ...size, '--ms', String(ms)]
}

/** One cell of one table. A process of its own, so that no cell starts with the memory of another. */
export class CellProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>
  readonly #name: string

  constructor(plan: Plan, cell: Cell) {
    this.#name = caseName(plan.table, cell)
    const command = join(target, 'release', 'phyllo-bench-index')
    this.#child = tie(spawn(command, programArguments(plan, cell), { stdio: ['pipe', 'pipe', 'inherit'] }))
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  /** Waits until its indexes are built and checked; answers the number of (pod, block) pairs in each. */
  async ready(): Promise<number> {
    const first = await this.#next()
    if (!('ready' in first)) throw new Error(`${this.#name}: a sample before it was ready`)
    return first.pairs
  }

  /** One sample of each metric of each subject. */
  async round(): Promise<Sample[]> {
    this.#child.stdin.write('\n')
    const samples: Sample[] = []
    for (;;) {
      const next = await this.#next()
      if ('done' in next) return samples
      if ('subject' in next) samples.push(next)
    }
  }

  async end(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.stdin.end()
    await exit
  }

  async #next(): Promise<z.infer<typeof line>> {
    const next = await this.#lines.next()
    if (next.done === true) throw new Error(`${this.#name}: the program ended before its time`)
    return line.parse(JSON.parse(next.value))
  }
}
