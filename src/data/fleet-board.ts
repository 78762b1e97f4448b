/**
 * What plugins know of pods and tenants across threads and the native core does not keep: fixed tables of numbers in
 * shared memory. Whatever two threads may write at once is written atomically.
 */
import { type AdapterHandle, type Adapters, AdapterTable, createAdapterMemory } from './adapter-table.js'
import { MAX_SLOTS } from './native.js'
import { createTenantMemory, type TenantHandle } from './tenant-usage.js'

export interface BoardHandle {
  readonly memory: SharedArrayBuffer
  readonly width: number
  readonly adapters: AdapterHandle
  readonly tenants: TenantHandle
}

/** Models of which arrivals are counted apart; those beyond share the last count. */
const MODELS = 64

/** The turn counter, a turn a slot, then an arrival counter a model. */
const wordsOf = (width: number): number => 1 + width + MODELS

export function createBoard(width: number): BoardHandle {
  const memory = new SharedArrayBuffer(wordsOf(width) * Int32Array.BYTES_PER_ELEMENT)
  return { memory, width, adapters: createAdapterMemory(width), tenants: createTenantMemory() }
}

/** What plugins see of it. */
export type Board = Pick<FleetBoard, 'arrived' | 'coldTurns' | 'tenants' | 'wentCold'> & {
  readonly adapters: Adapters
}

/** One thread's access. */
export class FleetBoard {
  /**
   * When each slot had its last request that nothing was cached for, in turns counted over all threads; 0: never. The
   * count wraps at 2^31 to below zero, so that only differences tell who was first. A pod that takes over a slot takes
   * over its turn, which by then is an old one.
   */
  readonly coldTurns: Int32Array
  readonly adapters: AdapterTable
  /** For `TenantUsage`, which needs a clock. */
  readonly tenants: TenantHandle
  readonly #turn: Int32Array
  readonly #arrivals: Int32Array

  constructor({ memory, width, adapters, tenants }: BoardHandle) {
    this.adapters = new AdapterTable(adapters)
    this.tenants = tenants
    this.#turn = new Int32Array(memory, 0, 1)
    this.coldTurns = new Int32Array(memory, Int32Array.BYTES_PER_ELEMENT, width)
    this.#arrivals = new Int32Array(memory, (1 + width) * Int32Array.BYTES_PER_ELEMENT, MODELS)
  }

  /**
   * A request for the model came, by its number; answers how many had come before, to all threads. The count wraps as
   * the turns do.
   */
  arrived(modelId: number): number {
    return Atomics.add(this.#arrivals, Math.min(Math.max(0, modelId), MODELS - 1), 1)
  }

  /** The slot had a request that nothing was cached for. */
  wentCold(slot: number): void {
    Atomics.store(this.coldTurns, slot, Atomics.add(this.#turn, 0, 1) + 1)
  }
}

/** A board of one thread alone: for tests, and for whoever runs one. */
export const ownBoard = (width: number = MAX_SLOTS): FleetBoard => new FleetBoard(createBoard(width))
