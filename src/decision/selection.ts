/** Filter, Score and Pick made to run. Everything they work on is allocated once, per profile and thread. */
import { MAX_SLOTS, OPS } from '../data/native.js'
import type { Pool } from '../data/pod-view.js'
import { Candidates } from './candidates.js'
import type { RoutingContext } from './context.js'
import { useDraws } from './draws.js'
import { expectNothing, isForClient, type PluginFailed, type SelectionOutcome } from './outcome.js'
import type { FilterFn, PickFn, PluginEnv, Refusal, ScoreFn, WhyDropped } from './plugin.js'
import type { Profile } from './profile.js'
import type { Ranking } from './ranking.js'
import type { ReadByProfile, SelectionTrace } from './selection-trace.js'
import type { AnySlot } from './slot.js'
import { sessionPod } from './slots.js'
import { TopPods } from './top-pods.js'
import type { Trace } from './trace.js'

interface Filter {
  readonly name: string
  readonly refusal: Refusal
  readonly why: WhyDropped
  readonly run: FilterFn<AnySlot>
}
interface Scorer {
  readonly name: string
  readonly weight: number
  readonly isCost: boolean
  readonly run: ScoreFn<AnySlot>
}
interface Picker {
  readonly name: string
  readonly run: PickFn<AnySlot>
}

export class Selection {
  readonly #env: PluginEnv
  readonly #reads: ReadByProfile
  readonly #filters: readonly Filter[]
  readonly #scorers: readonly Scorer[]
  readonly #picker: Picker

  readonly #candidates = new Candidates()
  readonly #keep = new Uint8Array(MAX_SLOTS)
  readonly #scores = new Float64Array(MAX_SLOTS)
  readonly #totals = new Float64Array(MAX_SLOTS)
  readonly #top = new TopPods()
  readonly #onFailed: PluginFailed

  constructor(profile: Profile, env: PluginEnv, onFailed: PluginFailed) {
    this.#env = env
    this.#onFailed = onFailed
    const { prepare, filter, score, pick } = profile
    this.#reads = {
      caches: prepare.some(spec => (spec.op & OPS.matchPrefix) !== 0),
      sessionPod: [...filter, ...score, pick].some(spec => spec.reads.includes(sessionPod)),
    }
    this.#filters = profile.filter.map(spec => ({
      name: spec.name,
      refusal: spec.refusal,
      why: spec.why,
      run: spec.create(env),
    }))
    this.#scorers = profile.score.map(spec => ({
      name: spec.name,
      weight: spec.weight,
      isCost: spec.measure === 'cost',
      run: spec.create(env),
    }))
    this.#picker = { name: profile.pick.name, run: profile.pick.create(env) }
  }

  /** See `CompiledProfile.select`. */
  run(ctx: RoutingContext, pool: Pool, ranking: Ranking, trace: Trace | undefined): SelectionOutcome {
    const { lane } = this.#env
    lane.beginSelection()
    ctx.bound = 0
    ranking.clear()
    this.#candidates.load(pool)
    const record = trace?.beginSelection(this.#env, ctx, pool, this.#reads)
    useDraws(record?.draws)
    const refusal = this.#filter(ctx, record)
    if (this.#candidates.length > 0) {
      this.#score(ctx, record)
      this.#pick(ctx, ranking, record)
    }
    const outcome = ranking.length > 0 ? 'picked' : refusal
    record?.end(ranking, ctx.bound, outcome)
    return outcome
  }

  /** A plugin threw: the decision goes on without it, unless the error is meant for the client. */
  #failed(plugin: string, error: unknown): void {
    if (isForClient(error)) throw error
    this.#onFailed(this.#env.profile, plugin, error)
  }

  /** Answers what it means if nothing is left. */
  #filter(ctx: RoutingContext, record: SelectionTrace | undefined): Refusal {
    const pods = this.#candidates
    const keep = this.#keep
    let refusal = this.#dropFull(record)
    for (const filter of this.#filters) {
      if (pods.length === 0) break
      keep.fill(1, 0, pods.length)
      record?.start()
      try {
        expectNothing(filter.run(ctx, pods, keep))
      } catch (error) {
        this.#failed(filter.name, error)
        keep.fill(1, 0, pods.length)
      }
      record?.filtered(filter.name, pods, keep, filter.why, ctx.bound)
      // One pod that was only busy is reason enough to say "overloaded": waiting helps.
      if (pods.compact(keep) > 0 && filter.refusal === 'overloaded') refusal = filter.refusal
    }
    return refusal
  }

  /**
   * Takes out the pods that have as many requests as their operator allows: no profile's choice, so no plugin. Booking
   * checks again; here it keeps full pods from being all that is ranked.
   */
  #dropFull(record: SelectionTrace | undefined): Refusal {
    const { limits } = this.#env.pods
    if (limits === null) return 'no_pod'
    const pods = this.#candidates
    const keep = this.#keep
    const { inflight } = this.#env.lane
    record?.start()
    for (let i = 0; i < pods.length; i++) {
      const slot = pods.slots[i] ?? 0
      keep[i] = (inflight[slot] ?? 0) < (limits[slot] ?? 0) ? 1 : 0
    }
    record?.filtered('max-inflight', pods, keep, atItsLimit, 0)
    return pods.compact(keep) > 0 ? 'overloaded' : 'no_pod'
  }

  #score(ctx: RoutingContext, record: SelectionTrace | undefined): void {
    const pods = this.#candidates
    const scores = this.#scores
    const totals = this.#totals
    totals.fill(0, 0, pods.length)
    for (const scorer of this.#scorers) {
      const sign = scorer.isCost ? -scorer.weight : scorer.weight
      scores.fill(0, 0, pods.length)
      record?.start()
      try {
        expectNothing(scorer.run(ctx, pods, scores))
      } catch (error) {
        this.#failed(scorer.name, error)
        scores.fill(0, 0, pods.length)
      }
      for (let i = 0; i < pods.length; i++) {
        const score = scores[i] ?? 0
        // Scores are held to 0..1, NaN to 0: one scorer's slip must not drown the others. A cost's slip is a high cost.
        const held = scorer.isCost ? heldCost(score) : score >= 0 ? Math.min(1, score) : 0
        scores[i] = held
        totals[i] = (totals[i] ?? 0) + sign * held
      }
      record?.scored(scorer.name, sign, pods, scores)
    }
  }

  #pick(ctx: RoutingContext, ranking: Ranking, record: SelectionTrace | undefined): void {
    record?.start()
    try {
      expectNothing(this.#picker.run(ctx, this.#candidates, this.#totals, ranking))
      this.#checkRanking(ranking)
    } catch (error) {
      this.#failed(this.#picker.name, error)
      this.#pickBest(ranking)
    }
    record?.picked(this.#picker.name, this.#candidates, this.#totals)
  }

  /** A picker may slip as any plugin may; what it ranks is sent requests, so it is held to the candidates. */
  #checkRanking({ slots, length }: Ranking): void {
    if (length === 0) throw new Error('it put no pod into the ranking, though there were candidates')
    for (let i = 0; i < length; i++) {
      const slot = slots[i] ?? 0
      if (!this.#candidates.has(slot)) {
        throw new Error(
          `it put slot ${slot} into the ranking, which is no candidate: push what stands in pods.slots`,
        )
      }
    }
  }

  /** In a failed picker's place: the highest total, of equals the pod with the fewest requests. */
  #pickBest(ranking: Ranking): void {
    const { slots, length } = this.#candidates
    const { requests } = this.#env.lane
    ranking.clear()
    this.#top.clear()
    for (let i = 0; i < length; i++) {
      const slot = slots[i] ?? 0
      this.#top.insert(slot, this.#totals[i] ?? 0, requests[slot] ?? 0, i)
    }
    this.#top.pushTo(ranking)
  }
}

/** The dearest a pod can be: a day in milliseconds is 86,400,000, and sums of a few of these still add up exactly. */
const MAX_COST = 1e12

function heldCost(cost: number): number {
  if (cost <= 0) return 0
  return cost < MAX_COST ? cost : MAX_COST
}

const atItsLimit: WhyDropped = ({ load, maxInflight }) =>
  `${load.inflight} requests in flight, its maxInflight is ${maxInflight}`
