/** What stands around the routers: canned engines behind them, the load generator before them. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { tie } from '../lib/child.js'
import type { LoadOrder, LoadReport } from './load.js'

const ENGINES = 4

const script = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url))

/** Starts the engines; answers their ports. They end with the bench's IPC channel. */
export async function startEngines(): Promise<number[]> {
  return Promise.all(Array.from({ length: ENGINES }, startEngine))
}

async function startEngine(): Promise<number> {
  const child = tie(fork(script('canned-engine'), { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] }))
  const [line]: unknown[] = await Promise.race([once(child.stdout ?? child, 'data'), failed(child)])
  const port = Number(String(line))
  if (!(port > 0)) throw new Error(`a canned engine said ${String(line)} instead of its port`)
  return port
}

export class LoadGenerator {
  readonly #child = tie(fork(script('load')))
  readonly #failed = failed(this.#child)

  /** Runs the order; throws if any of its requests failed. */
  async run(order: LoadOrder): Promise<LoadReport> {
    const report = new Promise<LoadReport>(resolve => {
      this.#child.once('message', (message: LoadReport) => resolve(message))
    })
    this.#child.send(order)
    const { ok, failed: lost, failure, seconds } = await Promise.race([report, this.#failed])
    if (lost > 0 || ok !== order.requests) {
      throw new Error(`${lost} of ${order.requests} requests failed, the first with: ${failure}`)
    }
    return { ok, failed: lost, failure, seconds }
  }

  stop(): void {
    this.#failed.catch(() => undefined)
    this.#child.disconnect()
  }
}

async function failed(child: ChildProcess): Promise<never> {
  const [code]: unknown[] = await once(child, 'exit')
  throw new Error(`a process of the bench ended with code ${String(code)}`)
}
