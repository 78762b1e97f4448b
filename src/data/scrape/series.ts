/** Reads one sample line: its engine core, its number, and what its labels say. Nothing is allocated. */
import { ALL_NEEDLES, type Needle, type NeedleUse } from './needles.js'
import { isExactly, Labels, numberOf, OPEN, skipBlanks, wordEnd } from './text-format.js'

const MOST_USES = Math.max(...ALL_NEEDLES.map(({ uses }) => uses.length))

export class SeriesReader {
  /** Where the value of the core label stands; both 0 if the series has none. */
  coreFrom = 0
  coreTo = 0
  readonly #labels = new Labels()
  readonly #found = Array.from({ length: MOST_USES }, () => new Found())
  #sample = Number.NaN

  /** From behind the metric's name up to the line's end. False if its labels are not well-formed. */
  read(needle: Needle, bytes: Buffer, from: number, end: number): boolean {
    const at = skipBlanks(bytes, from, end)
    for (const found of this.#found) found.reset()
    this.coreFrom = 0
    this.coreTo = 0
    const after = bytes[at] === OPEN ? this.#readLabels(needle, bytes, at + 1, end) : at
    if (after < 0) return false
    const word = skipBlanks(bytes, after, end)
    this.#sample = numberOf(bytes, word, wordEnd(bytes, word, end))
    return true
  }

  /** What the line says to a use of its metric; NaN if nothing. */
  value(needle: Needle, i: number): number {
    const use = needle.uses[i]
    const found = this.#found[i]
    if (use === undefined || found === undefined || (use.where !== undefined && !found.there))
      return Number.NaN
    return use.labels.length === 0 ? this.#sample : found.number
  }

  /** Answers the place behind the labels; -1 if they are not well-formed. */
  #readLabels(needle: Needle, bytes: Buffer, from: number, end: number): number {
    const labels = this.#labels
    labels.start(from)
    while (labels.next(bytes, end)) {
      if (isExactly(bytes, labels.nameFrom, labels.nameTo, needle.core)) {
        this.coreFrom = labels.valueFrom
        this.coreTo = labels.valueTo
      }
      if (!needle.labelled) continue
      for (let i = 0; i < needle.uses.length; i++) this.#found[i]?.look(needle.uses[i], bytes, labels)
    }
    return labels.end
  }
}

/** What the labels of a series say to one use of it. */
class Found {
  /** Its condition is met. */
  there = false
  /** The number in the best of its labels; NaN if none holds one. */
  number = Number.NaN
  #rank = 0

  reset(): void {
    this.there = false
    this.number = Number.NaN
    this.#rank = Number.POSITIVE_INFINITY
  }

  look(use: NeedleUse | undefined, bytes: Buffer, { nameFrom, nameTo, valueFrom, valueTo }: Labels): void {
    if (use === undefined) return
    const { where, labels } = use
    if (where !== undefined && isExactly(bytes, nameFrom, nameTo, where[0]))
      this.there = isExactly(bytes, valueFrom, valueTo, where[1])
    for (let rank = 0; rank < labels.length && rank < this.#rank; rank++) {
      const label = labels[rank]
      if (label === undefined || !isExactly(bytes, nameFrom, nameTo, label)) continue
      const number = numberOf(bytes, valueFrom, valueTo)
      if (Number.isNaN(number)) continue
      this.number = number
      this.#rank = rank
    }
  }
}
