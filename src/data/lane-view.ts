/**
 * A worker thread's view of the shared state: the native lane plus the typed arrays its results are written into.
 * The arrays are reused for every request, so what they hold is valid only within one selection, which never awaits.
 */
import { type Lane, LOAD, LOAD_COLUMNS, type NativeAddon, type SharedState, type Ticket } from './native.js'

export class LaneView {
  readonly native: Lane
  readonly width: number
  /** Requests in flight, by slot. */
  readonly inflight: Float64Array
  /** Uncached prompt tokens whose first byte is still awaited, by slot. */
  readonly pendingTokens: Float64Array
  /** Average time to the first byte in ms, by slot; 0 unknown. */
  readonly firstByteMs: Float64Array
  /** Breaker state, by slot: see LOAD.breaker. */
  readonly breaker: Float64Array
  /** 1 where a pod takes new requests, by slot. */
  readonly ready: Float64Array
  /** Requests on the pod as far as anyone knows, also those that others sent there, by slot. */
  readonly requests: Float64Array
  /** Requests in the engine's own queue, by slot; 0 unknown. */
  readonly waiting: Float64Array
  /** Part of the engine's KV blocks in use, by slot; 0 unknown. */
  readonly kvUse: Float64Array
  /** How far a new pod's slow start has come, 0.1 to 1, by slot. */
  readonly warmth: Float64Array
  /** Tokens that the requests booked on the pod hold in its KV cache, by slot. */
  readonly activeTokens: Float64Array

  readonly #loads: Float64Array
  readonly #cached: Uint32Array
  #cachedTicket = -1

  constructor(
    addon: Pick<NativeAddon, 'Lane'>,
    readonly state: SharedState,
  ) {
    this.native = new addon.Lane(state)
    this.width = state.width
    this.#loads = new Float64Array(this.width * LOAD_COLUMNS)
    this.#cached = new Uint32Array(this.width)
    const column = (index: number) => this.#loads.subarray(index * this.width, (index + 1) * this.width)
    this.inflight = column(LOAD.inflight)
    this.pendingTokens = column(LOAD.pendingTokens)
    this.firstByteMs = column(LOAD.firstByteMs)
    this.breaker = column(LOAD.breaker)
    this.ready = column(LOAD.ready)
    this.requests = column(LOAD.requests)
    this.waiting = column(LOAD.waiting)
    this.kvUse = column(LOAD.kvUse)
    this.warmth = column(LOAD.warmth)
    this.activeTokens = column(LOAD.activeTokens)
  }

  /** Takes a fresh snapshot of all loads; every selection starts with it. */
  beginSelection(): void {
    this.native.loads(this.#loads)
    this.#cachedTicket = -1
  }

  /** Cached prompt tokens by slot for a ticket; one native look-up per selection, however many plugins read it. */
  cachedTokens(ticket: Ticket): Uint32Array {
    if (this.#cachedTicket !== ticket) {
      this.native.cachedTokens(ticket, this.#cached)
      this.#cachedTicket = ticket
    }
    return this.#cached
  }
}
