/**
 * Decides again on the states of a decision log, by a profile of one's choice: the profile is compiled as in a router and
 * reads a lane, pods and chance that come from the log. Every line is decided on as it was logged; what the other
 * decisions would have made of the fleet's load and caches is a question for `phyllo simulate`.
 */
import { LaneView } from '../../data/lane-view.js'
import type { BodyKind, Lane, SharedState } from '../../data/native.js'
import { createPrepareQueue, PrepareQueue } from '../../data/prepare-queue.js'
import { type CompiledProfile, compileProfile } from '../compile.js'
import { LoggedDraws } from '../draws.js'
import type { SelectionOutcome } from '../outcome.js'
import type { Profile } from '../profile.js'
import { Ranking } from '../ranking.js'
import { type SelectionRecord, Trace } from '../trace.js'
import { LoggedBoard } from './logged-board.js'
import { LoggedContext } from './logged-context.js'
import { LoggedFleet } from './logged-fleet.js'
import { LoggedLane } from './logged-lane.js'
import { LoggedLatency } from './logged-latency.js'
import { loggedState } from './logged-state.js'
import { type LoggedKeys, replayedProfile } from './replayed-profile.js'
import type { DecisionRecord } from './schema.js'
import { SurrogateKeys } from './surrogate-key.js'

/** What the profile would have decided. */
export interface Redecision {
  /** The pod; null: none. */
  readonly pick: string | null
  readonly ranking: readonly string[]
  readonly outcome: SelectionOutcome
  /** Numbers of chance and turns that the log did not hold, so that they were drawn anew. */
  readonly missingDraws: number
  /** What plugins asked for of the request and no log holds, in words: it was not there for them. */
  readonly missingParts: readonly string[]
  readonly selection: SelectionRecord | undefined
}

export class Replayer {
  readonly #fleet = new LoggedFleet()
  readonly #lane: LaneView
  readonly #native: LoggedLane
  readonly #latency = new LoggedLatency()
  readonly #board = new LoggedBoard()
  readonly #ctx: LoggedContext
  readonly #profile: CompiledProfile
  readonly #ranking = new Ranking()
  readonly #keys = new SurrogateKeys()
  /** Where this profile put sessions, for lines that do not say where they lived: model and key → pod id. */
  readonly #sessions = new Map<string, string>()
  readonly #models = new Map<string, number>()
  readonly #turns = new Map<number, number>()
  #record: DecisionRecord | undefined

  /** `random`: 0 ≤ x < 1, for what the log does not hold. Throws where the profile cannot be compiled. */
  constructor(profile: Profile, random: () => number) {
    const sessions = { podOf: () => this.#sessionPod() }
    class LaneOfLog extends LoggedLane {
      constructor(_state: SharedState) {
        super(sessions)
      }
    }
    const state = loggedState(
      () => this.#time,
      (ref, out) => this.#native.cacheStatus(ref, out),
    )
    this.#lane = new LaneView({ Lane: LaneOfLog }, state)
    this.#native = loggedLane(this.#lane.native)
    this.#ctx = new LoggedContext(0, this.#lane)
    this.#profile = compileProfile(replayedProfile(profile, this.#loggedKeys()), {
      lane: this.#lane,
      pods: this.#fleet.view,
      latency: this.#latency,
      board: this.#board,
      now: () => this.#time,
      random,
      asyncPrepareBytes: Number.POSITIVE_INFINITY,
      prepareQueue: new PrepareQueue(createPrepareQueue(1, 0, 1), 0),
      // A router would decide without the plugin; a replay that did so would tell nothing of it.
      onPluginFailed: (_profile, plugin, error) => {
        const reason = error instanceof Error ? error.message : String(error)
        throw new Error(`plugin '${plugin}' failed: ${reason}`, { cause: error })
      },
    })
  }

  /** Throws what a plugin throws, and what a Prepare plugin that waits for something would need. */
  decide(record: DecisionRecord): Redecision {
    this.#record = record
    this.#native.show(record)
    this.#latency.show(record)
    this.#board.show(record)
    const pool = this.#fleet.show(record)
    const draws = new LoggedDraws(record.decision.draws, name => this.#nextTurn(name))
    const trace = new Trace(this.#fleet.view, undefined, { draws })
    const ctx = this.#ctx
    try {
      ctx.request = { ...noHead, id: record.id, kind: record.endpoint }
      ctx.model = record.model
      ctx.modelId = this.#modelId(record.model)
      ctx.stream = record.stream
      ctx.followUp = record.followUp
      if (this.#profile.prepare(ctx, trace) !== undefined)
        throw new Error('a prepare plugin waits for something, which a log cannot give')
      // What the trace asked for to write down, nobody decides by.
      ctx.takeAsked()
      const outcome = this.#profile.select(ctx, pool, this.#ranking, trace)
      const [selection] = trace.selections
      const ranking = selection?.ranking ?? []
      this.#remember(ranking[0])
      return {
        pick: ranking[0] ?? null,
        ranking,
        outcome,
        missingDraws: draws.missing,
        missingParts: ctx.takeAsked(),
        selection,
      }
    } finally {
      ctx.reset()
    }
  }

  get #time(): number {
    return this.#record === undefined ? 0 : Date.parse(this.#record.time)
  }

  #loggedKeys(): LoggedKeys {
    const hashes = () => this.#record?.keys
    return {
      session: () => {
        const session = hashes()?.session
        return session == null ? null : this.#keys.of(session.hash)
      },
      affinity: () => this.#keys.of(hashes()?.affinity.hash ?? 0),
    }
  }

  #sessionPod(): number {
    const logged = this.#record?.keys.session?.pod
    const id = logged === undefined ? this.#sessions.get(this.#sessionName) : logged
    return id == null ? -1 : this.#fleet.refOf(id)
  }

  #remember(pod: string | undefined): void {
    if (pod !== undefined && this.#record?.keys.session != null) this.#sessions.set(this.#sessionName, pod)
  }

  get #sessionName(): string {
    return `${this.#record?.keys.session?.hash} ${this.#record?.model}`
  }

  #modelId(model: string): number {
    const known = this.#models.get(model) ?? this.#models.size
    this.#models.set(model, known)
    return known
  }

  #nextTurn(name: number): number {
    const turn = this.#turns.get(name) ?? 0
    this.#turns.set(name, turn + 1)
    return turn
  }
}

const noHead = { id: '', method: 'POST', path: '', query: '', headers: [], kind: 'chat' } satisfies {
  kind: BodyKind
  [name: string]: unknown
}

function loggedLane(lane: Lane): LoggedLane {
  if (!(lane instanceof LoggedLane)) throw new Error('unreachable: the lane was made here')
  return lane
}
