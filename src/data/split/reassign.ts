/**
 * Which pod of role `both` is to be kept to one step, by the split that the demand asks for. Of a step that more pods
 * take than its share by more than the hysteresis, for a whole window, one pod is taken away:
 *
 *     excess of prefill = pods that take prefill - ideal
 *     excess of decode  = pods that take decode - (pods - ideal)
 *
 * A pod that takes both counts on both sides, so that the excesses add up to the number of those: a fleet is divided
 * pod by pod, and one that is left over may well stay with both, as the fraction of a pod that it is.
 *
 * It does not flap. With all pods divided, one excess is minus the other, and a move takes 1 from the one; so from above
 * h it comes to above h - 1, and the other to below 1 - h: not above h again, if h is a half or more. Taking a step from
 * a pod of both does not change the other excess at all. Beyond that, moves are a cooldown apart.
 *
 * Bounds come first: where pods went away, and fewer take a step than must, pods that were kept from it get both again
 * at once, cooldown or not.
 */
import { type Assignment, type PodRole, takesStep } from '../pod-role.js'

export interface ReassignOptions {
  /** Fewest pods that take each step. */
  readonly minPrefill: number
  readonly minDecode: number
  /** In pods, a half at least. */
  readonly hysteresis: number
  /** Time that a difference must last. In milliseconds. */
  readonly windowMs: number
  /** Between two changes of a model's pods. In milliseconds. */
  readonly cooldownMs: number
}

/** A pod that takes requests and prefill or decode steps. */
export interface Player {
  readonly id: string
  readonly role: Extract<PodRole, 'prefill' | 'decode' | 'both'>
  readonly assigned: Assignment | undefined
  /** What it has to do of each step, in tokens: the pod with least of it is taken away from the step. */
  readonly pendingTokens: number
  readonly activeTokens: number
}

export const REASSIGN_REASONS = ['pressure', 'bounds', 'off'] as const
const TARGETS = ['prefill', 'decode', 'both'] as const
export type ReassignReason = (typeof REASSIGN_REASONS)[number]

/** Pods that were re-assigned, all models' together. */
export class ReassignCounts {
  readonly #rows = TARGETS.flatMap(to => REASSIGN_REASONS.map(reason => ({ to, reason, count: 0 })))

  add(to: Assignment | undefined, reason: ReassignReason): void {
    for (const row of this.#rows) if (row.to === (to ?? 'both') && row.reason === reason) row.count++
  }

  get rows(): readonly { readonly to: string; readonly reason: string; readonly count: number }[] {
    return this.#rows
  }
}

export interface Change<P extends Player = Player> {
  readonly pod: P
  /** Undefined: both steps again. */
  readonly to: Assignment | undefined
  readonly reason: ReassignReason
  /** For the log. */
  readonly why: string
}

/** Of one model's pods. Times are milliseconds of a clock that only grows. */
export class Reassigner {
  /** The step that has too many, and since when. */
  #over: Assignment | undefined
  #since = 0
  #changedAt = Number.NEGATIVE_INFINITY

  constructor(private readonly options: ReassignOptions) {}

  /** What is to change now. `ideal`: see Split; undefined where the demand says nothing. */
  next<P extends Player>(now: number, ideal: number | undefined, pods: readonly P[]): Change<P>[] {
    const freed = this.#freed(pods)
    if (freed.length > 0) {
      this.#over = undefined
      this.#changedAt = now
      return freed
    }
    const over = ideal === undefined ? undefined : this.#excessive(ideal, pods)
    if (over !== this.#over) {
      this.#over = over
      this.#since = now
    }
    const { windowMs, cooldownMs } = this.options
    if (over === undefined || now - this.#since < windowMs || now - this.#changedAt < cooldownMs) return []
    const pod = leaver(over, pods)
    if (pod === undefined) return []
    this.#over = undefined
    this.#changedAt = now
    const share = over === 'prefill' ? (ideal ?? 0) : pods.length - (ideal ?? 0)
    const why = `${count(over, pods)} of ${pods.length} pods took ${over}, for a share of ${share.toFixed(2)}`
    return [{ pod, to: other(over), reason: 'pressure', why }]
  }

  /** Pods that get both steps again so that no step has fewer pods than it must. */
  #freed<P extends Player>(pods: readonly P[]): Change<P>[] {
    return STEPS.flatMap(step => {
      const least = this.#least(step)
      const missing = Math.max(0, least - count(step, pods))
      const kept = pods.filter(pod => pod.role === 'both' && pod.assigned === other(step))
      const why = `${count(step, pods)} pods took ${step}, and ${least} must`
      return [...kept]
        .sort(byWork(other(step)))
        .slice(0, missing)
        .map(pod => ({ pod, to: undefined, reason: 'bounds' as const, why }))
    })
  }

  /** The step with the larger excess, if it is too large and a pod can be spared. */
  #excessive(ideal: number, pods: readonly Player[]): Assignment | undefined {
    const ofPrefill = count('prefill', pods) - ideal
    const ofDecode = count('decode', pods) - (pods.length - ideal)
    const step = ofPrefill >= ofDecode ? 'prefill' : 'decode'
    if (Math.max(ofPrefill, ofDecode) <= this.options.hysteresis) return undefined
    return count(step, pods) > this.#least(step) ? step : undefined
  }

  #least(step: Assignment): number {
    return step === 'prefill' ? this.options.minPrefill : this.options.minDecode
  }
}

const STEPS = ['prefill', 'decode'] as const

const other = (step: Assignment): Assignment => (step === 'prefill' ? 'decode' : 'prefill')

const count = (step: Assignment, pods: readonly Player[]): number =>
  pods.filter(pod => takesStep(pod, step)).length

/** Who leaves a step: one that takes both before one that was kept to it, and the one with least to do. */
function leaver<P extends Player>(step: Assignment, pods: readonly P[]): P | undefined {
  const able = pods.filter(pod => pod.role === 'both' && takesStep(pod, step))
  const free = able.filter(pod => pod.assigned === undefined)
  return [...(free.length > 0 ? free : able)].sort(byWork(step))[0]
}

const byWork =
  (step: Assignment) =>
  (a: Player, b: Player): number => {
    const less = step === 'prefill' ? a.pendingTokens - b.pendingTokens : a.activeTokens - b.activeTokens
    return less || (a.id < b.id ? -1 : 1)
  }
