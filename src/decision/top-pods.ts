/** The best few pods of many, in order: an insertion into a fixed number of places, so nothing is allocated. */
import { RANKING_SIZE, type Ranking } from './ranking.js'

export class TopPods {
  readonly #slots = new Uint16Array(RANKING_SIZE)
  readonly #scores = new Float64Array(RANKING_SIZE)
  readonly #loads = new Float64Array(RANKING_SIZE)
  readonly #turns = new Float64Array(RANKING_SIZE)
  #length = 0

  clear(): void {
    this.#length = 0
  }

  /** Puts a pod in its place: by score (high first), then load (low first), then turn (low first). */
  insert(slot: number, score: number, load: number, turn: number): void {
    let at = this.#length
    while (at > 0 && this.#before(at - 1, score, load, turn)) at--
    if (at === RANKING_SIZE) return
    if (this.#length < RANKING_SIZE) this.#length++
    for (let i = this.#length - 1; i > at; i--) this.#move(i - 1, i)
    this.#slots[at] = slot
    this.#scores[at] = score
    this.#loads[at] = load
    this.#turns[at] = turn
  }

  /** Adds them all to the ranking. */
  pushTo(ranking: Ranking): void {
    for (let i = 0; i < this.#length; i++) ranking.push(this.#slots[i] ?? 0)
  }

  /** Does the new pod belong before the one at this place? */
  #before(at: number, score: number, load: number, turn: number): boolean {
    const otherScore = this.#scores[at] ?? 0
    if (score !== otherScore) return score > otherScore
    const otherLoad = this.#loads[at] ?? 0
    if (load !== otherLoad) return load < otherLoad
    return turn < (this.#turns[at] ?? 0)
  }

  #move(from: number, to: number): void {
    this.#slots[to] = this.#slots[from] ?? 0
    this.#scores[to] = this.#scores[from] ?? 0
    this.#loads[to] = this.#loads[from] ?? 0
    this.#turns[to] = this.#turns[from] ?? 0
  }
}
