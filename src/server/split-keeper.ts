/**
 * Looks at the pods that take prefill or decode steps, each second: what the requests of each model ask for, how its pods
 * should be divided, and, where that is switched on, which pod of role `both` is kept to one step from now on. It is on
 * the control plane, since it needs the registry, the pods' own metrics, what they were sent and the latency model, and
 * nothing of it is on any request's way.
 */
import type { LatencyWeights } from '../data/latency-weights.js'
import { type SharedState, slotOf } from '../data/native.js'
import type { Pod, PodRegistry } from '../data/pod-registry.js'
import { type Assignment, takesStep } from '../data/pod-role.js'
import type { Scraper } from '../data/scrape/scraper.js'
import {
  type Demand,
  demandOf,
  loadOf,
  msPerTokenOf,
  type PodLook,
  type Split,
  splitFor,
} from '../data/split/demand.js'
import { LoadWindow } from '../data/split/load-window.js'
import { type Change, ReassignCounts, Reassigner } from '../data/split/reassign.js'
import type { Logger } from '../telemetry/log.js'
import type { ModelSplit } from '../telemetry/split-metrics.js'
import { podStatus } from './admin/gauges.js'
import type { DisaggregationOptions } from './options.js'

export interface SplitParts {
  readonly registry: Pick<PodRegistry, 'pods' | 'assign'>
  readonly state: Pick<SharedState, 'podStatus'>
  readonly scraper: Pick<Scraper, 'status'>
  readonly latency: Pick<LatencyWeights, 'msPerToken'>
  /** Uncached prompt tokens that the slot's pod was sent to compute, ever. */
  readonly sentTokens: (slot: number) => number
  readonly log: Pick<Logger, 'info' | 'error'>
  /** Milliseconds that only grow. */
  readonly now: () => number
}

/** What an engine said longer ago says nothing of now: it is asked each second, and that ten times. */
const STALE_MS = 10_000

/** A model's pods. */
interface Group {
  readonly window: LoadWindow
  readonly reassigner: Reassigner
  status: ModelSplit
}

/** A pod that takes steps and requests. */
interface Playing {
  readonly pod: Pod
  readonly id: string
  readonly role: 'prefill' | 'decode' | 'both'
  readonly assigned: Assignment | undefined
  readonly pendingTokens: number
  readonly activeTokens: number
  readonly look: PodLook
}

export class SplitKeeper {
  readonly counts = new ReassignCounts()
  readonly #groups = new Map<string, Group>()
  readonly #sent = new Map<Pod, number>()
  #enabled: boolean
  #lookedAt: number
  #timer: NodeJS.Timeout | undefined
  /** Changes that the workers are being told of. */
  #telling: Promise<void> | undefined

  constructor(
    private readonly parts: SplitParts,
    private readonly options: DisaggregationOptions,
  ) {
    this.#enabled = options.reassign.enabled
    this.#lookedAt = parts.now()
  }

  start(): void {
    this.look()
    this.#timer = setInterval(() => this.look(), this.options.everyMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Whether pods are re-assigned. */
  get enabled(): boolean {
    return this.#enabled
  }

  /** Switched off, all pods take both steps again; resolves when the workers know. */
  async enable(on: boolean): Promise<void> {
    if (this.#enabled === on) return
    this.#enabled = on
    this.parts.log.info(`re-assignment of pods is switched ${on ? 'on' : 'off'}`)
    if (on) return
    await this.#telling
    const kept = this.parts.registry.pods.filter(pod => pod.assigned !== undefined)
    if (kept.length === 0) return
    this.#apply(kept.map(pod => ({ pod, to: undefined, reason: 'off', why: 'it is switched off' })))
    await this.#telling
  }

  /** Models whose requests can be split, by name. */
  status(): readonly ModelSplit[] {
    return [...this.#groups.values()].map(({ status }) => status)
  }

  /** One look at all pods. */
  look(): void {
    const now = this.parts.now()
    const elapsedMs = now - this.#lookedAt
    this.#lookedAt = now
    const models = this.#playing()
    for (const name of this.#groups.keys()) if (!models.has(name)) this.#groups.delete(name)
    const changes = [...models].flatMap(([name, pods]) => this.#lookAt(name, pods, elapsedMs, now))
    if (changes.length > 0) this.#apply(changes)
  }

  /** Pods that take steps, by their base model: engines list it first, adapters behind. */
  #playing(): Map<string, Playing[]> {
    const { pods } = this.parts.registry
    for (const pod of this.#sent.keys()) if (!pods.includes(pod)) this.#sent.delete(pod)
    const models = new Map<string, Playing[]>()
    for (const pod of pods) {
      const [model] = pod.models
      const player = this.#player(pod)
      if (model === undefined || player === undefined) continue
      const group = models.get(model)
      if (group === undefined) models.set(model, [player])
      else group.push(player)
    }
    return models
  }

  /** Undefined for a pod that takes no steps, or no requests at present. */
  #player(pod: Pod): Playing | undefined {
    const { id, role, assigned, ref, maxInflight } = pod
    if (role === 'mixed' || role === 'encode') return undefined
    const { state, inflight, pendingTokens, activeTokens } = podStatus(this.parts.state, pod)
    const arrivedTokens = this.#arrived(pod)
    if (state !== 'ready') return undefined
    const look: PodLook = {
      takesPrefill: takesStep(pod, 'prefill'),
      takesDecode: takesStep(pod, 'decode'),
      arrivedTokens,
      pendingTokens,
      activeTokens,
      inflight,
      maxInflight,
      msPerToken: this.parts.latency.msPerToken(ref),
      engine: this.#engine(pod),
    }
    return { pod, id, role, assigned, pendingTokens, activeTokens, look }
  }

  #arrived(pod: Pod): number {
    const sent = this.parts.sentTokens(slotOf(pod.ref))
    const before = this.#sent.get(pod)
    this.#sent.set(pod, sent)
    // A slot's count begins anew with its pod, on one worker after the other.
    return before === undefined || sent < before ? 0 : sent - before
  }

  #engine(pod: Pod): PodLook['engine'] {
    const status = this.parts.scraper.status(pod)
    return status !== undefined && status.ageMs <= STALE_MS ? status.reading : undefined
  }

  #lookAt(model: string, pods: readonly Playing[], elapsedMs: number, now: number): Change<Playing>[] {
    const group = this.#group(model)
    const looks = pods.map(pod => pod.look)
    const load = loadOf(looks, elapsedMs, this.options.windowMs)
    group.window.add(load)
    const { mean = load, isFull } = group.window
    const demand = demandOf(mean, msPerTokenOf(looks))
    const known = splitFor(demand, pods.length)
    const split = isFull || typeof known === 'string' ? known : 'the first window of looks is not over'
    group.status = statusOf(model, pods, demand, split)
    if (!this.#enabled || this.#telling !== undefined) return []
    return group.reassigner.next(now, typeof split === 'string' ? undefined : split.ideal, pods)
  }

  #group(model: string): Group {
    let group = this.#groups.get(model)
    if (group === undefined) {
      const { windowMs, everyMs, reassign } = this.options
      group = {
        window: new LoadWindow(Math.max(1, Math.round(windowMs / everyMs))),
        reassigner: new Reassigner({ ...reassign, windowMs }),
        status: statusOf(model, [], { prefill: undefined, decode: undefined }, 'nobody has looked yet'),
      }
      this.#groups.set(model, group)
    }
    return group
  }

  #apply(changes: readonly (Omit<Change, 'pod'> & { readonly pod: { readonly id: string } })[]): void {
    const assignments = new Map<Pod, Assignment | undefined>()
    for (const {
      pod: { id },
      to,
      reason,
      why,
    } of changes) {
      const pod = this.parts.registry.pods.find(each => each.id === id)
      if (pod === undefined) continue
      assignments.set(pod, to)
      this.counts.add(to, reason)
      this.parts.log.info(`pod ${id} takes ${to ?? 'prefill and decode'} from now on: ${why}`)
    }
    this.#telling = this.parts.registry
      .assign(assignments)
      .catch((error: unknown) =>
        this.parts.log.error({ err: error }, 'workers could not be told of pods’ steps'),
      )
      .finally(() => {
        this.#telling = undefined
      })
  }
}

function statusOf(
  model: string,
  pods: readonly Playing[],
  demand: Demand,
  split: Split | string,
): ModelSplit {
  const taking = (step: Assignment): number => pods.filter(({ pod }) => takesStep(pod, step)).length
  const prefill = taking('prefill')
  const decode = taking('decode')
  const both = prefill + decode - pods.length
  return {
    model,
    prefill: prefill - both,
    decode: decode - both,
    both,
    demand,
    pressure: {
      prefill: pressure(demand.prefill, prefill),
      decode: pressure(demand.decode, decode),
    },
    recommended: typeof split === 'string' ? undefined : split,
    whyNone: typeof split === 'string' ? split : undefined,
  }
}

const pressure = (demand: number | undefined, pods: number): number | undefined =>
  demand === undefined || pods === 0 ? undefined : demand / pods
