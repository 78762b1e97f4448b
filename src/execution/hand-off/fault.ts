/** Why the answer of a pod is no hand-off. The text names what was wrong, never what the answer said besides. */
export interface HandOffFault {
  /** `not-json`: garbage. `missing`: no such field, or null. `wrong-type`: not what the protocol says. */
  readonly fault: 'not-json' | 'missing' | 'wrong-type'
  readonly text: string
}

export const handOffFault = (fault: HandOffFault['fault'], text: string): HandOffFault => ({ fault, text })

export const isHandOffFault = (value: object): value is HandOffFault => 'fault' in value

/** A value's own field; undefined for anything that has none. */
export function fieldIn(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

/** The JSON as a value; undefined if it is none. */
export function parsedJson(json: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json))
  } catch {
    return undefined
  }
}

/** The same of a text. A stream has thousands of them, and a decoder for each would take longer than all else. */
export function parsedText(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Why a prefill's answer of which nothing is needed can't be one; undefined for any JSON object. */
export function answerFault(body: Uint8Array): string | undefined {
  const value = parsedJson(body)
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? undefined
    : "the prefill's answer is no JSON object"
}
