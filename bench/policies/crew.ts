/** Child processes, as many as cores, that take orders from one queue. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { tie } from '../lib/child.js'
import type { Outcome, Run, Setting } from './cells.js'
import type { KeptCells } from './kept.js'
import type { Answer, Order } from './worker.js'

export class Crew {
  readonly #idle: ChildProcess[]
  readonly #waiting: ((child: ChildProcess) => void)[] = []

  constructor(
    private readonly quick: boolean,
    readonly kept: KeptCells,
  ) {
    this.#idle = Array.from({ length: availableParallelism() }, () => {
      const child = tie(fork(new URL('./worker.js', import.meta.url)))
      child.once('exit', code => {
        if (code !== null && code !== 0) throw new Error(`a simulation ended with code ${code}`)
      })
      return child
    })
  }

  async run(run: Run): Promise<Outcome> {
    const answer = await this.#ask({ type: 'run', run, quick: this.quick })
    if (typeof answer === 'number') throw new Error('a run answered a rate')
    return answer
  }

  async capacity(setting: Setting): Promise<number> {
    const { name } = setting
    const kept = this.kept.rate(name)
    if (kept !== undefined) return kept
    const answer = await this.#ask({ type: 'capacity', setting, quick: this.quick })
    if (typeof answer !== 'number') throw new Error('a search answered no rate')
    this.kept.keepRate(name, answer)
    return answer
  }

  end(): void {
    for (const child of this.#idle) child.removeAllListeners('exit').kill()
  }

  async #ask(order: Order): Promise<Answer> {
    const child =
      this.#idle.pop() ?? (await new Promise<ChildProcess>(resolve => this.#waiting.push(resolve)))
    try {
      const answer = once(child, 'message')
      child.send(order)
      const [content]: Answer[] = await answer
      if (content === undefined) throw new Error('an answer of nothing')
      return content
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#idle.push(child)
      else next(child)
    }
  }
}
