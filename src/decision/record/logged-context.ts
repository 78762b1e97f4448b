/** A request of the log: what it does not hold of one is not there, and who asks for it is heard. */
import { RoutingContext } from '../context.js'

export class LoggedContext extends RoutingContext {
  /** Undefined: the log does not say. */
  followUp: boolean | undefined
  readonly #asked = new Set<string>()

  /** What was asked for in vain since the last time, in words. */
  takeAsked(): string[] {
    const asked = [...this.#asked]
    this.#asked.clear()
    return asked
  }

  override header(name: string): undefined {
    this.#asked.add(`the header '${name}'`)
  }

  override has(name: Parameters<RoutingContext['has']>[0]): boolean {
    this.#asked.add(`the field '${name}'`)
    return false
  }

  override rawField(name: Parameters<RoutingContext['rawField']>[0]): undefined {
    this.#asked.add(`the field '${name}'`)
  }

  override fieldBytes(name: Parameters<RoutingContext['fieldBytes']>[0]): undefined {
    this.#asked.add(`the field '${name}'`)
  }

  override isFollowUp(): boolean {
    if (this.followUp === undefined) this.#asked.add('the turn in its conversation')
    return this.followUp === true
  }
}
