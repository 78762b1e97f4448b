/**
 * The events of the pod that goes on with an answer, as the first one would have sent them: the same id, time and
 * model, no second role, and usage of the whole answer. All else in their data stays byte for byte, and so do other fields.
 */
import {
  change,
  drop,
  editBody,
  elementsOf,
  type FieldEdit,
  isArray,
  isObject,
  replace,
} from '../body-edit.js'
import { fieldIn, parsedJson } from '../hand-off/fault.js'
import { dataOf, eventsIn, withData } from '../server-sent-events.js'
import type { StreamSoFar, TokensSoFar } from './stream-so-far.js'

export class ResumedEvents {
  readonly #edits: readonly FieldEdit[]
  readonly #hasRole: boolean

  /** `tokens`: of the client's prompt and of the answer so far; undefined: nobody asked for usage. */
  constructor({ shared, hasRole }: Pick<StreamSoFar, 'shared' | 'hasRole'>, tokens: TokensSoFar | undefined) {
    this.#hasRole = hasRole
    const usage = change('usage', value =>
      tokens !== undefined && isObject(value) ? summed(value, tokens) : value,
    )
    const same = Object.entries(shared).map(([name, value]) => replace(name, value))
    this.#edits = hasRole ? [...same, usage, change('choices', withoutRoles)] : [...same, usage]
  }

  /** Whole events; those that only name the role are left out. */
  rewrite(events: Buffer): Buffer {
    const out: Buffer[] = []
    for (const event of eventsIn(events)) {
      const data = dataOf(event)
      if (data === undefined || !isObject(data)) out.push(event)
      else {
        const value = parsedJson(data)
        if (!(this.#hasRole && isRoleAlone(value)))
          out.push(value === undefined ? event : withData(event, editBody(data, this.#edits)))
      }
    }
    return Buffer.concat(out)
  }
}

function isRoleAlone(event: unknown): boolean {
  const choices = fieldIn(event, 'choices')
  if (!Array.isArray(choices) || choices.length === 0) return false
  return choices.every(choice => {
    const delta = fieldIn(choice, 'delta')
    const isUnfinished = (fieldIn(choice, 'finish_reason') ?? null) === null
    if (typeof delta !== 'object' || delta === null || !('role' in delta) || !isUnfinished) return false
    return Object.entries(delta).every(([name, value]) => name === 'role' || value === null || value === '')
  })
}

function withoutRoles(choices: Buffer): Buffer {
  if (!isArray(choices)) return choices
  const roleless = change('delta', delta => (isObject(delta) ? editBody(delta, [drop('role')]) : delta))
  const all = [...elementsOf(choices)].map(choice =>
    isObject(choice) ? editBody(choice, [roleless]).toString() : choice.toString(),
  )
  return Buffer.from(`[${all.join(',')}]`)
}

/** Usage as if one pod had given the whole answer. `value` is what the second one counts. */
function summed(value: Buffer, { prompt, completion }: TokensSoFar): Buffer {
  const added = fieldIn(parsedJson(value), 'completion_tokens')
  const whole = completion + (typeof added === 'number' ? added : 0)
  return editBody(value, [
    replace('prompt_tokens', String(prompt)),
    replace('completion_tokens', String(whole)),
    replace('total_tokens', String(prompt + whole)),
    change('prompt_tokens_details', details =>
      isObject(details)
        ? editBody(details, [change('cached_tokens', cached => capped(cached, prompt))])
        : details,
    ),
  ])
}

/** The second pod may have cached what was the answer's: of the prompt, no more than there is of it. */
function capped(cached: Buffer, most: number): string {
  const count = Number(cached.toString())
  return count > most ? String(most) : cached.toString()
}
