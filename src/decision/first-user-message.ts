/**
 * The text of a chat's first message from the user, found in the JSON as it came: what goes before it (system prompts) is
 * walked over byte by byte, and nothing is parsed but the text itself.
 */
const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const COLON = 0x3a
const COMMA = 0x2c

/** Brackets around what stands in a message: those of the array, and its own. */
const MESSAGE = 2
/** Longer strings are neither a key nor a role that is looked for. */
const LONGEST_WORD = 12

const decoder = new TextDecoder()
/** A UTF-16 unit takes six bytes at most in JSON (\uXXXX). */
const BYTES_PER_CHAR = 6

/**
 * The first `chars` UTF-16 units of the content of the first message whose role is `user`; undefined if there is none
 * with a text, or it doesn't begin within these bytes. `messages`: valid JSON of an array, perhaps cut off. Of content in
 * parts, it is the JSON of the parts.
 */
export function firstUserMessage(messages: Uint8Array, chars: number): string | undefined {
  let depth = 0
  let key = ''
  let isValue = false
  let isUser = false
  let content = -1
  for (let i = 0; i < messages.length && !(isUser && content >= 0); i++) {
    const byte = messages[i]
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth++
      if (depth === MESSAGE) {
        isValue = false
        isUser = false
        content = -1
      }
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--
    else if (byte === QUOTE) {
      const end = stringEnd(messages, i)
      if (depth === MESSAGE) {
        const text = end - i > LONGEST_WORD ? '' : decoder.decode(messages.subarray(i + 1, end))
        if (!isValue) key = text
        else if (key === 'role') isUser = text === 'user'
      }
      i = end
    } else if (depth === MESSAGE && byte === COLON) {
      isValue = true
      if (key === 'content') content = valueAt(messages, i + 1)
    } else if (depth === MESSAGE && byte === COMMA) isValue = false
  }
  return isUser && content >= 0 ? textAt(messages, content, chars) : undefined
}

function valueAt(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length && (bytes[at] ?? 0) <= 0x20) at++
  return at
}

/** Where the string that begins at `from` ends: its closing quote, or the end of the bytes. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let i = from + 1; i < bytes.length; i++) {
    if (bytes[i] === BACKSLASH) i++
    else if (bytes[i] === QUOTE) return i
  }
  return bytes.length
}

function textAt(bytes: Uint8Array, at: number, chars: number): string {
  if (bytes[at] !== QUOTE) return decoder.decode(bytes.subarray(at, at + chars)).slice(0, chars)
  const end = Math.min(stringEnd(bytes, at), at + 1 + chars * BYTES_PER_CHAR)
  const raw = decoder.decode(bytes.subarray(at + 1, end))
  return unescaped(raw).slice(0, chars)
}

/** Escapes as they are written would be a key just as well, but a text and its escaped twin must have the same. */
function unescaped(raw: string): string {
  if (!raw.includes('\\')) return raw
  // What the cut left of an escape at the end goes.
  const [whole = ''] = COMPLETE.exec(raw) ?? []
  return String(JSON.parse(`"${whole}"`))
}

/** Characters and complete escapes, as many as there are. */
const COMPLETE = /^(?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u])*/
