/**
 * The beginning of a stream, held back until it says something. vLLM answers a hand-off that failed with status 200, for
 * chats with a piece that only names the role, and then an error event (test/engines/disaggregated/README.md): passed on
 * as it comes, the request could not go to another pod any more.
 */
import { parsedText } from './hand-off/fault.js'

/** What a stream's beginning is: nothing yet, an answer, or an error in words. */
export type HeadVerdict = 'nothing' | 'content' | { readonly error: string }

/** More than any role piece and error event; what is longer says something. */
const MOST_BYTES = 16_384
const LF = 0x0a

export class StreamHead {
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #rest: Buffer = Buffer.alloc(0)

  /** All that was held. */
  get chunks(): readonly Buffer[] {
    return this.#chunks
  }

  /** Takes a piece and judges all that came so far. */
  add(chunk: Buffer): HeadVerdict {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > MOST_BYTES) return 'content'
    const text = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let from = 0
    for (let end = text.indexOf(LF); end >= 0; end = text.indexOf(LF, from)) {
      const verdict = judgeLine(text.toString('utf8', from, end).trim())
      if (verdict !== 'nothing') return verdict
      from = end + 1
    }
    this.#rest = text.subarray(from)
    return 'nothing'
  }
}

function judgeLine(line: string): HeadVerdict {
  if (!line.startsWith('data:')) return 'nothing'
  const json = line.slice('data:'.length).trim()
  const event = json === '[DONE]' ? undefined : parsedText(json)
  if (typeof event !== 'object' || event === null) return 'content'
  if ('error' in event && event.error !== null) return { error: messageOf(event.error) }
  return 'choices' in event && Array.isArray(event.choices) && event.choices.every(isEmpty)
    ? 'nothing'
    : 'content'
}

function messageOf(error: unknown): string {
  const message = typeof error === 'object' && error !== null && 'message' in error ? error.message : error
  return typeof message === 'string' ? message.slice(0, 500) : 'no message'
}

/** Of a choice: it has no text, no call and no end. */
function isEmpty(choice: unknown): boolean {
  if (typeof choice !== 'object' || choice === null) return false
  if ('finish_reason' in choice && choice.finish_reason !== null) return false
  if ('text' in choice && choice.text !== '') return false
  if (!('delta' in choice)) return 'text' in choice
  const { delta } = choice
  if (typeof delta !== 'object' || delta === null) return false
  return Object.entries(delta).every(([name, value]) => name === 'role' || value === null || value === '')
}
