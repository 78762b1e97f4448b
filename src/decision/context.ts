/**
 * The RoutingContext: the one object that travels with a request through all layers. Pooled: the row number it holds
 * is what slots index their cells by.
 */
import type { LaneView } from '../data/lane-view.js'
import { type BodyKind, FIELDS, type FieldName, isTicket, NO_TICKET, type Ticket } from '../data/native.js'
import type { PodInfo, Pool } from '../data/pod-view.js'
import type { TokenForwarding } from '../data/token-forwarding.js'
import { isFollowUp } from './follow-up.js'
import type { AnySlot, Slot, Writer } from './slot.js'
import type { Trace } from './trace.js'

const fieldIndex: Readonly<Record<string, number>> = Object.fromEntries(FIELDS.map((name, i) => [name, i]))
const noBody = Buffer.alloc(0)
const noPool: Pool = { slots: new Uint16Array(0), length: 0 }
const decoder = new TextDecoder()

/** What the server knows of a request when it makes the context. */
export interface RequestHead {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly query: string
  /** name, value, name, value, …; names in lower case. */
  readonly headers: readonly string[]
  readonly kind: BodyKind
}

const noRequest: RequestHead = { id: '', method: '', path: '', query: '', headers: [], kind: 'other' }

export class RoutingContext implements Writer<AnySlot, AnySlot> {
  request: RequestHead = noRequest
  /** The client's bytes, untouched; of an answer that another pod goes on with, what asks it to. */
  body: Buffer = noBody
  /** `[offset, length]` of each FIELDS entry in the body; length 0 = absent. */
  readonly fields = new Uint32Array(FIELDS.length * 2)
  /** The model asked for, after aliases. */
  model = ''
  /** The native core's number of that model. */
  modelId = -1
  stream = false
  /** Whether prompts of the model go to its pods as token ids where that changes nothing; undefined: they do not. */
  forwarding: TokenForwarding | undefined
  /** The response that this request goes on from, where its pod is the only one in the pool; else empty. */
  pinnedTo = ''
  /** The pods that serve the model (or the one pod that holds the state asked for). */
  pool: Pool = noPool
  /** The fleet version that the pool's slots are of: a retry may come minutes later, when one has another pod. */
  poolVersion = Number.POSITIVE_INFINITY
  /** What the native core prepared; 0 if nothing. Dropped by `RoutingContexts.give`. */
  ticket: Ticket = NO_TICKET
  /** The pod picked last for another step of the same request, which the selection may want to be near. */
  earlierPick: PodInfo | undefined
  /** Most requests in flight on the picked pod, set by a filter that caps; 0 = no cap. Booking enforces it. */
  bound = 0
  /** Whether pods of role `both` are left to prefills, set by a filter that decides it; undefined: none did. */
  keptApart: boolean | undefined
  /** Records how it is decided; undefined for all requests but those sampled for the decision log. */
  trace: Trace | undefined

  readonly #written: AnySlot[] = []

  constructor(
    readonly row: number,
    readonly lane: LaneView,
  ) {}

  get<N extends string, T>(slot: Slot<N, T>): T {
    return slot.read(this)
  }

  set<N extends string, T>(slot: Slot<N, T>, value: T): void {
    slot.write(this, value)
  }

  /** Called by a slot that was written, so that its cell is emptied in the end. */
  touched(slot: AnySlot): void {
    this.#written.push(slot)
  }

  header(name: string): string | undefined {
    const { headers } = this.request
    for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
    return undefined
  }

  /** Has the body this field (not counting null)? */
  has(name: FieldName): boolean {
    return (this.fields[(fieldIndex[name] ?? 0) * 2 + 1] ?? 0) > 0
  }

  /** The raw JSON text of a field; undefined if absent. */
  rawField(name: FieldName): string | undefined {
    const at = (fieldIndex[name] ?? 0) * 2
    const offset = this.fields[at] ?? 0
    const length = this.fields[at + 1] ?? 0
    return length === 0 ? undefined : decoder.decode(this.body.subarray(offset, offset + length))
  }

  /** The first bytes of a field's raw JSON, at most `limit`; undefined if absent. A view into the body, not a copy. */
  fieldBytes(name: FieldName, limit: number): Uint8Array | undefined {
    const at = (fieldIndex[name] ?? 0) * 2
    const offset = this.fields[at] ?? 0
    const length = this.fields[at + 1] ?? 0
    return length === 0 ? undefined : this.body.subarray(offset, offset + Math.min(length, limit))
  }

  /** Has a field's raw JSON these bytes among its first ones, at most `limit`? */
  fieldIncludes(name: FieldName, wanted: Buffer, limit: number): boolean {
    const at = (fieldIndex[name] ?? 0) * 2
    const offset = this.fields[at] ?? 0
    const length = Math.min(this.fields[at + 1] ?? 0, limit)
    if (length === 0) return false
    const { body } = this
    // A view is an allocation: worth it only where the search would go on far behind the field.
    if (body.length - offset > limit) return body.subarray(offset, offset + length).includes(wanted)
    const found = body.indexOf(wanted, offset)
    return found >= 0 && found + wanted.length <= offset + length
  }

  /** Whether it goes on with a conversation. */
  isFollowUp(): boolean {
    return isFollowUp(this)
  }

  /** Names the session this request belongs to; from now on the ticket carries it. */
  nameSession(key: string): void {
    const ticket = this.lane.native.setSession(this.ticket, key)
    if (isTicket(ticket)) this.ticket = ticket
  }

  /** Hands the ticket to the caller, who is to drop it: what was prepared outlives the request. */
  takeTicket(): Ticket {
    const { ticket } = this
    this.ticket = NO_TICKET
    return ticket
  }

  /** A field's string value; undefined if absent or not a string. */
  stringField(name: FieldName): string | undefined {
    const raw = this.rawField(name)
    if (raw === undefined || raw[0] !== '"') return undefined
    // Model and session names rarely hold escapes; JSON.parse costs more than the slice.
    return raw.includes('\\') ? String(JSON.parse(raw)) : raw.slice(1, -1)
  }

  /** Lets go of the body: nothing will be sent again, while the answer may take minutes. */
  dropBody(): void {
    this.body = noBody
    this.fields.fill(0)
  }

  /** Empties everything for the next request. */
  reset(): void {
    for (const slot of this.#written) slot.clear(this.row)
    this.#written.length = 0
    if (this.ticket !== 0) this.lane.native.drop(this.ticket)
    this.ticket = NO_TICKET
    this.request = noRequest
    this.body = noBody
    this.model = ''
    this.modelId = -1
    this.pinnedTo = ''
    this.stream = false
    this.forwarding = undefined
    this.pool = noPool
    this.poolVersion = Number.POSITIVE_INFINITY
    this.earlierPick = undefined
    this.bound = 0
    this.keptApart = undefined
    this.trace = undefined
  }
}

/** Slots are shared by all pools of a thread (an explainer's, a simulation's), so that no two contexts may have a row. */
let rows = 0

/** The pool of contexts of one worker thread. */
export class RoutingContexts {
  readonly #free: RoutingContext[] = []
  #made = 0

  constructor(readonly lane: LaneView) {}

  take(): RoutingContext {
    const free = this.#free.pop()
    if (free !== undefined) return free
    this.#made++
    return new RoutingContext(rows++, this.lane)
  }

  give(ctx: RoutingContext): void {
    ctx.reset()
    this.#free.push(ctx)
  }

  /** Contexts in use: 0 when idle, or something leaks. */
  get inUse(): number {
    return this.#made - this.#free.length
  }
}
