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

/** Models that have a count of arrivals and a regime of their own, by number; those beyond share one more count. */
export const BOARD_MODELS = 64

/** The turn counter, a turn a slot, an arrival counter a model and one for all others, then a regime a model. */
const wordsOf = (width: number): number => 1 + width + (BOARD_MODELS + 1) + BOARD_MODELS

/** A model's regime as it is kept; 0: nobody has told one. */
const APART = 1
const TOGETHER = 2

export function createBoard(width: number): BoardHandle {
  const memory = new SharedArrayBuffer(wordsOf(width) * Int32Array.BYTES_PER_ELEMENT)
  return { memory, width, adapters: createAdapterMemory(width), tenants: createTenantMemory() }
}

/** What plugins see of it. */
export type Board = Pick<
  FleetBoard,
  'arrived' | 'coldTurns' | 'isOnlooker' | 'keptApart' | 'keepApart' | 'tenants' | 'wentCold'
> & {
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
  readonly #regimes: Int32Array

  /** `isOnlooker`: the thread decides for explanations alone, so that nothing that it sees has happened. */
  constructor(
    { memory, width, adapters, tenants }: BoardHandle,
    readonly isOnlooker = false,
  ) {
    this.adapters = new AdapterTable(adapters)
    this.tenants = tenants
    this.#turn = new Int32Array(memory, 0, 1)
    this.coldTurns = new Int32Array(memory, Int32Array.BYTES_PER_ELEMENT, width)
    const counts = 1 + width
    const regimes = counts + BOARD_MODELS + 1
    this.#arrivals = new Int32Array(memory, counts * Int32Array.BYTES_PER_ELEMENT, BOARD_MODELS + 1)
    this.#regimes = new Int32Array(memory, regimes * Int32Array.BYTES_PER_ELEMENT, BOARD_MODELS)
  }

  /**
   * A request for the model came, by its number; answers how many had come before, to all threads. The count wraps as
   * the turns do.
   */
  arrived(modelId: number): number {
    return Atomics.add(this.#arrivals, Math.min(Math.max(0, modelId), BOARD_MODELS), 1)
  }

  /**
   * Whether a model's prefills and answers are kept apart, as the thread that decided last has it; undefined: none has, or
   * the model has no regime of its own.
   */
  keptApart(modelId: number): boolean | undefined {
    const regime = this.#regimes[modelId] ?? 0
    return regime === 0 ? undefined : regime === APART
  }

  /** A thread has decided it. */
  keepApart(modelId: number, isApart: boolean): void {
    const regime = isApart ? APART : TOGETHER
    // Written when it changes: it is told with each request.
    if (modelId >= 0 && modelId < BOARD_MODELS && this.#regimes[modelId] !== regime)
      Atomics.store(this.#regimes, modelId, regime)
  }

  /** The slot had a request that nothing was cached for. */
  wentCold(slot: number): void {
    Atomics.store(this.coldTurns, slot, Atomics.add(this.#turn, 0, 1) + 1)
  }
}

/** A board of one thread alone: for tests, and for whoever runs one. */
export const ownBoard = (width: number = MAX_SLOTS): FleetBoard => new FleetBoard(createBoard(width))
