/** Sums up what a profile would have decided on a log against what was decided. */
import type { Redecision } from './replayer.js'
import type { DecisionRecord } from './schema.js'

export interface Move {
  readonly from: string
  readonly to: string
  readonly requests: number
}

/** How evenly picks spread: the most that a pod got over the mean of all pods seen; 1 is perfectly even. */
export interface Imbalance {
  readonly requests: number
  /** The same of prompt tokens that the pod had not cached; null where nothing is known of caches. */
  readonly uncachedTokens: number | null
}

export interface ReplaySummary {
  /** Lines decided on again. */
  readonly decisions: number
  /** Profiles that the lines were logged with, and how many of each. */
  readonly loggedProfiles: Readonly<Record<string, number>>
  readonly samePicks: number
  /** 0 to 1; null without a decision. */
  readonly sameShare: number | null
  /** From the logged pick to the other, most frequent first; `none`: no pod. */
  readonly moves: readonly Move[]
  /** Prompt tokens that the picks had cached, by the log. */
  readonly cachedTokens: {
    readonly logged: number
    readonly replayed: number
    /** Over the requests that gained, and over those that lost. */
    readonly gained: number
    readonly lost: number
    /** Of the prompts that this is about. */
    readonly prompt: number
    /** Decisions of which the log does not know it. */
    readonly unknown: number
  }
  readonly imbalance: { readonly logged: Imbalance; readonly replayed: Imbalance }
  readonly picks: Readonly<Record<string, { readonly logged: number; readonly replayed: number }>>
  /** Decisions for which chance or turns had to be drawn anew. */
  readonly newDraws: number
  /** What plugins asked for of requests and no log holds, and in how many decisions. */
  readonly missingParts: Readonly<Record<string, number>>
  /** Decisions with a session of which the log does not say where it lived. */
  readonly unknownSessions: number
}

/** How pods share what was decided. */
class Shares {
  readonly requests = new Map<string, number>()
  readonly uncached = new Map<string, number>()

  add(pod: string, uncached: number): void {
    this.requests.set(pod, (this.requests.get(pod) ?? 0) + 1)
    this.uncached.set(pod, (this.uncached.get(pod) ?? 0) + uncached)
  }

  imbalance(pods: number, knowsCaches: boolean): Imbalance {
    return {
      requests: maxOverMean(this.requests, pods),
      uncachedTokens: knowsCaches ? maxOverMean(this.uncached, pods) : null,
    }
  }
}

const NONE = 'none'

export class Comparison {
  readonly #profiles = new Map<string, number>()
  readonly #moves = new Map<string, { from: string; to: string; requests: number }>()
  readonly #pods = new Set<string>()
  readonly #logged = new Shares()
  readonly #replayed = new Shares()
  readonly #tokens = { logged: 0, replayed: 0, gained: 0, lost: 0, prompt: 0, unknown: 0 }
  #decisions = 0
  #same = 0
  #newDraws = 0
  #unknownSessions = 0
  readonly #missingParts = new Map<string, number>()

  add(record: DecisionRecord, redecision: Redecision): void {
    const from = record.decision.ranking[0] ?? NONE
    const to = redecision.pick ?? NONE
    this.#decisions++
    this.#profiles.set(record.profile, (this.#profiles.get(record.profile) ?? 0) + 1)
    for (const id of record.pods.id) this.#pods.add(id)
    if (from === to) this.#same++
    else this.#move(from, to)
    if (redecision.missingDraws > 0) this.#newDraws++
    for (const part of redecision.missingParts) {
      this.#missingParts.set(part, (this.#missingParts.get(part) ?? 0) + 1)
    }
    const { session } = record.keys
    if (session !== null && session.pod === undefined) this.#unknownSessions++
    this.#cached(record, from, to)
  }

  summary(): ReplaySummary {
    const knowsCaches = this.#tokens.unknown < this.#decisions
    const count = this.#pods.size
    return {
      decisions: this.#decisions,
      loggedProfiles: Object.fromEntries(this.#profiles),
      samePicks: this.#same,
      sameShare: this.#decisions === 0 ? null : this.#same / this.#decisions,
      moves: [...this.#moves.values()].sort((a, b) => b.requests - a.requests),
      cachedTokens: { ...this.#tokens },
      imbalance: {
        logged: this.#logged.imbalance(count, knowsCaches),
        replayed: this.#replayed.imbalance(count, knowsCaches),
      },
      picks: Object.fromEntries(
        [...this.#pods].sort().map(pod => [
          pod,
          {
            logged: this.#logged.requests.get(pod) ?? 0,
            replayed: this.#replayed.requests.get(pod) ?? 0,
          },
        ]),
      ),
      newDraws: this.#newDraws,
      missingParts: Object.fromEntries(this.#missingParts),
      unknownSessions: this.#unknownSessions,
    }
  }

  #move(from: string, to: string): void {
    const key = JSON.stringify([from, to])
    const move = this.#moves.get(key) ?? { from, to, requests: 0 }
    move.requests++
    this.#moves.set(key, move)
  }

  #cached({ pods, prompt }: DecisionRecord, from: string, to: string): void {
    const { cached } = pods
    const on = (pod: string): number => (pod === NONE ? 0 : (cached?.[pods.id.indexOf(pod)] ?? 0))
    if (cached === null) this.#tokens.unknown++
    else {
      const difference = on(to) - on(from)
      this.#tokens.logged += on(from)
      this.#tokens.replayed += on(to)
      this.#tokens.prompt += prompt.tokens
      if (difference > 0) this.#tokens.gained += difference
      else this.#tokens.lost -= difference
    }
    const uncached = (pod: string): number => (cached === null ? 0 : Math.max(prompt.tokens - on(pod), 0))
    if (from !== NONE) this.#logged.add(from, uncached(from))
    if (to !== NONE) this.#replayed.add(to, uncached(to))
  }
}

/** Of the values by pod, those of pods without one being 0; 1 where there are none at all. */
function maxOverMean(values: ReadonlyMap<string, number>, pods: number): number {
  const all = [...values.values()]
  const sum = all.reduce((total, value) => total + value, 0)
  return sum === 0 ? 1 : (Math.max(...all) * pods) / sum
}
