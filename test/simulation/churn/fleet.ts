/** The parent's side of the fleet's process. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type Address, address, type FleetFaults, type Order, type Truth, truth } from './protocol.js'

const reply = z.object({ call: z.number(), result: z.unknown().optional(), error: z.string().optional() })

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

export class Fleet {
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, Waiting>()
  private calls = 0

  constructor(faults: FleetFaults, tickMs: number, seed: number) {
    const path = fileURLToPath(new URL('./fleet-child.js', import.meta.url))
    this.child = fork(path, [JSON.stringify({ faults, tickMs, seed })])
    this.child.on('message', raw => {
      const { call, result, error } = reply.parse(raw)
      const waiting = this.waiting.get(call)
      this.waiting.delete(call)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    this.child.on('exit', () => {
      for (const { reject } of this.waiting.values()) reject(new Error('the fleet’s process has ended'))
      this.waiting.clear()
    })
  }

  async start(id: string): Promise<Address> {
    return address.parse(await this.tell({ type: 'start', id }))
  }

  async kill(id: string): Promise<void> {
    await this.tell({ type: 'kill', id })
  }

  async restart(id: string): Promise<Address> {
    return address.parse(await this.tell({ type: 'restart', id }))
  }

  async settle(): Promise<void> {
    await this.tell({ type: 'settle' })
  }

  async truth(): Promise<Truth> {
    return truth.parse(await this.tell({ type: 'truth' }))
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null) return
    const gone = new Promise(resolve => this.child.once('exit', resolve))
    this.child.disconnect()
    await gone
  }

  private tell(wanted: Order): Promise<unknown> {
    const call = ++this.calls
    return new Promise((resolve, reject) => {
      this.waiting.set(call, { resolve, reject })
      this.child.send({ call, order: wanted })
    })
  }
}
