/**
 * What chance and turns decide with, where a decision is recorded, explained or decided again. A selection that is
 * traced may keep every number that its plugins draw and every turn that they take, or be given those of another; one
 * that is not traced pays a comparison a draw.
 *
 * There is one place for it a thread, set at the start of each selection: a selection never awaits.
 */
import type { Lane } from '../data/native.js'

/** Chance and turns of one selection. */
export interface Draws {
  /** A number was drawn, 0 ≤ x < 2^32; answers the one to use. */
  roll(drawn: number): number
  /** The next turn of a cursor shared by all threads. */
  turn(lane: Pick<Lane, 'cursor'>, name: number): number
}

/** The numbers as a log keeps them, in the order in which they were used. */
export interface DrawList {
  readonly rolls: number[]
  readonly turns: number[]
}

let current: Draws | undefined

/** Whose numbers the selection that begins now uses; undefined: nobody's but its own. */
export function useDraws(draws: Draws | undefined): void {
  current = draws
}

/** For dice: the number to use instead of the one drawn. Only to be called where `isDrawn()`. */
export function rolled(drawn: number): number {
  return current === undefined ? drawn : current.roll(drawn)
}

export const isDrawn = (): boolean => current !== undefined

/** The next value of a cursor that all threads advance together. What pickers take their turns by. */
export function nextTurn(lane: Pick<Lane, 'cursor'>, name: number): number {
  return current === undefined ? lane.cursor(name) : current.turn(lane, name)
}

/** Keeps what is drawn and changes nothing. */
export class KeptDraws implements Draws, DrawList {
  readonly rolls: number[] = []
  readonly turns: number[] = []

  roll(drawn: number): number {
    this.rolls.push(drawn)
    return drawn
  }

  turn(lane: Pick<Lane, 'cursor'>, name: number): number {
    const turn = lane.cursor(name)
    this.turns.push(turn)
    return turn
  }
}

/** Names of cursors that an explainer counts by itself: as many as profiles times models, far below. */
const MOST_CURSORS = 4096

/**
 * Turns of its own, so that explaining takes none from the requests: the shared cursor can only be read by advancing
 * it. They begin at 0 and advance from explanation to explanation, as those of requests do.
 */
export class OwnTurns {
  readonly #turns = new Map<number, number>()

  /** For one explanation. */
  draws(): Draws & DrawList {
    const rolls: number[] = []
    const turns: number[] = []
    return {
      rolls,
      turns,
      roll: drawn => {
        rolls.push(drawn)
        return drawn
      },
      turn: (_lane, name) => {
        const turn = this.#next(name)
        turns.push(turn)
        return turn
      },
    }
  }

  #next(name: number): number {
    const turn = this.#turns.get(name) ?? 0
    if (this.#turns.size >= MOST_CURSORS) this.#turns.clear()
    this.#turns.set(name, turn + 1)
    return turn
  }
}

/** Gives the numbers of a log again; what the log does not hold is drawn anew, and counted. */
export class LoggedDraws implements Draws {
  /** Numbers that the log did not hold. */
  missing = 0
  #roll = 0
  #turn = 0

  constructor(
    private readonly log: DrawList,
    private readonly ownTurns: (name: number) => number,
  ) {}

  roll(drawn: number): number {
    const logged = this.log.rolls[this.#roll++]
    if (logged === undefined) this.missing++
    return logged ?? drawn
  }

  turn(_lane: unknown, name: number): number {
    const logged = this.log.turns[this.#turn++]
    if (logged === undefined) this.missing++
    return logged ?? this.ownTurns(name)
  }
}
