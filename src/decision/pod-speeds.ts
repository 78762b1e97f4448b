/**
 * How fast each pod prefills, in milliseconds a token: what its operator says of its class, else what its answers say,
 * else what the other pods of its model do. Mixed fleets need it; in a fleet of equals it must not matter, so measurements
 * that are close to the median are taken for it: noise would otherwise draw requests to whoever was lucky. Equals run the
 * same base model: a pod with 8 billion parameters says nothing of one with 70.
 */
import { MAX_SLOTS } from '../data/native.js'
import type { PluginEnv } from './plugin.js'

/** Within this ratio of the median, pods are taken for equals: twice the error of fifty answers with 20 % of noise. */
const ALIKE = 1.5
/** Milliseconds between two looks. */
const FRESH_MS = 250

export interface SpeedOptions {
  /** Prefill rate of pods of which nothing is known, tokens per second. */
  readonly tokensPerSecond: number
  /** The label that tells a pod's class. */
  readonly label: string
  /** Tokens per second by that label's value. */
  readonly classes: Readonly<Record<string, number>>
  readonly measured: boolean
}

export class PodSpeeds {
  /** Milliseconds a token, by slot. */
  readonly msPerToken = new Float64Array(MAX_SLOTS)
  readonly #env: Pick<PluginEnv, 'pods' | 'latency' | 'now'>
  readonly #options: SpeedOptions
  #readAt = Number.NEGATIVE_INFINITY
  #version = -1
  #epoch = -1

  constructor(env: Pick<PluginEnv, 'pods' | 'latency' | 'now'>, options: SpeedOptions) {
    this.#env = env
    this.#options = options
  }

  /** Looks again if the last time was long enough ago; to be called before the figures are read. */
  refresh(): void {
    const { pods, latency, now } = this.#env
    const age = now() - this.#readAt
    const isSame = this.#version === pods.version && this.#epoch === latency.epoch
    if (isSame && age >= 0 && age < FRESH_MS) return
    this.#readAt = now()
    this.#version = pods.version
    this.#epoch = latency.epoch
    this.#read()
  }

  #read(): void {
    const { pods } = this.#env
    const byModel = new Map<string, number[]>()
    for (let i = 0; i < pods.all.length; i++) {
      const slot = pods.all.slots[i] ?? 0
      // Engines list their base model first, adapters behind.
      const model = pods.bySlot(slot)?.models[0] ?? ''
      const alike = byModel.get(model)
      if (alike === undefined) byModel.set(model, [slot])
      else alike.push(slot)
    }
    for (const slots of byModel.values()) this.#readModel(slots)
  }

  #readModel(slots: readonly number[]): void {
    const fallback = 1000 / this.#options.tokensPerSecond
    const known = Float64Array.from(slots, slot => this.#known(slot))
    const sorted = known.filter(ms => ms > 0).sort()
    const median = sorted[(sorted.length - 1) >> 1] ?? fallback
    for (const [i, slot] of slots.entries()) {
      const ms = known[i] ?? 0
      const isClose = ms > 0 && ms < median * ALIKE && ms * ALIKE > median
      this.msPerToken[slot] = ms <= 0 || (isClose && this.#ofClass(slot) === 0) ? median : ms
    }
  }

  /** 0: nothing is known. */
  #known(slot: number): number {
    const { pods, latency } = this.#env
    const ofClass = this.#ofClass(slot)
    if (ofClass > 0) return ofClass
    const pod = pods.bySlot(slot)
    return pod === undefined || !this.#options.measured ? 0 : Math.max(0, latency.msPerToken(pod.ref))
  }

  #ofClass(slot: number): number {
    const { label, classes } = this.#options
    const value = this.#env.pods.bySlot(slot)?.labels[label]
    const rate = value !== undefined && Object.hasOwn(classes, value) ? classes[value] : undefined
    return rate === undefined ? 0 : 1000 / rate
  }
}
