/**
 * Slots: how plugins communicate. A plugin never calls another; it writes typed slots of the request's context, and
 * declares the slots it reads, so that a profile can be checked when it is built (by the compiler, or when YAML loads).
 *
 * A slot owns its cells, one per context row, instead of the context owning a bag of unknowns: so a value comes out
 * with the type it went in with, and no cast is needed anywhere. Contexts are pooled, which keeps rows few.
 */
import { PhylloError } from '../errors.js'
import type { RoutingContext } from './context.js'

/** What all slots have in common whatever their type. */
export interface AnySlot {
  readonly name: string
  /** Empties the cell of a context row; the context calls it when it is given back. */
  clear(row: number): void
}

/** A typed place in the context. `N` keeps two slots of one type apart at compile time. */
export class Slot<const N extends string, T> implements AnySlot {
  readonly #cells: (T | undefined)[] = []
  readonly #supply: ((ctx: RoutingContext) => T) | undefined

  constructor(
    readonly name: N,
    supply?: (ctx: RoutingContext) => T,
  ) {
    this.#supply = supply
  }

  /** The value; from the supplier, where the slot has one. */
  read(ctx: RoutingContext): T {
    if (this.#supply !== undefined) return this.#supply(ctx)
    const value = this.#cells[ctx.row]
    if (value === undefined) {
      throw new PhylloError('internal_error', `slot '${this.name}' was read before it was written`)
    }
    return value
  }

  /** The value if one was written; undefined otherwise, and for a slot with a supplier. */
  peek(ctx: RoutingContext): T | undefined {
    return this.#cells[ctx.row]
  }

  write(ctx: RoutingContext, value: T): void {
    this.#cells[ctx.row] = value
    ctx.touched(this)
  }

  clear(row: number): void {
    this.#cells[row] = undefined
  }
}

/**
 * Declares a slot: `slot('promptTokens').of<Uint32Array>()`. `lazily` declares one whose value lives in the native
 * core and is fetched when somebody reads it; it costs nothing if nobody does.
 */
export function slot<const N extends string>(name: N) {
  return {
    of: <T>(): Slot<N, T> => new Slot<N, T>(name),
    lazily: <T>(supply: (ctx: RoutingContext) => T): Slot<N, T> => new Slot<N, T>(name, supply),
  }
}

/** The context as a plugin sees it: only the slots in `Allowed` can be read. */
export interface Reader<Allowed extends AnySlot> {
  get<N extends string, T>(slot: Slot<N, T> & Allowed): T
}

/** The context as a Prepare plugin sees it: reads what it declared, writes what it declared. */
export interface Writer<Readable extends AnySlot, Writable extends AnySlot> extends Reader<Readable> {
  set<N extends string, T>(slot: Slot<N, T> & Writable, value: T): void
}
