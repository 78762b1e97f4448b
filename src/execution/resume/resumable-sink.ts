/**
 * The client of a stream that another pod may go on with: it gets whole events only, which are kept until the end, and
 * one head whatever number of pods answers. What a pod says that is asked to go on is rewritten as the first one would
 * have said it; its refusal becomes the stream's error event.
 */
import { PhylloError } from '../../errors.js'
import { errorEvent } from '../error-answer.js'
import { fieldIn, parsedJson } from '../hand-off/fault.js'
import { asBuffer } from '../json-walk.js'
import type { KeptAnswer } from '../kept-answer.js'
import { isPodFailure } from '../retry.js'
import { dataOf, eventsIn } from '../server-sent-events.js'
import type { ClientSink } from '../sink.js'
import type { ResumedEvents } from './resumed-events.js'
import { WholeEvents } from './whole-events.js'

/** Of a refusal, told to the client. */
const MOST_REFUSAL_BYTES = 1000

const DONE = 'data: [DONE]\n\n'
/** How an error begins in a stream of vLLM's and SGLang's. In a text its quotes would be escaped. */
const ERROR = Buffer.from('{"error"')

/** What goes on with an answer, or does not. */
export interface BreakHandler {
  /** A pod broke off. True: another one goes on. */
  broken(error: PhylloError): boolean
}

export class ResumableSink implements ClientSink {
  /** The head has gone to the client. */
  begun = false
  /** Body bytes that went to the client. */
  bytes = 0
  /** Why the pod that was to go on did not, and the client was told so. */
  refused: PhylloError | undefined
  /** The answer is a stream of events. */
  #isStream = false
  readonly #events = new WholeEvents()
  #resumed: ResumedEvents | undefined
  /** What the pod that was to go on says instead. */
  #refusal: { readonly what: string; text: string } | undefined

  constructor(
    private readonly client: ClientSink,
    private readonly kept: KeptAnswer,
    private readonly breaks: BreakHandler,
  ) {}

  get closed(): boolean {
    return this.client.closed
  }

  onAborted(handler: () => void): void {
    this.client.onAborted(handler)
  }

  onWritable(handler: () => void): void {
    this.client.onWritable(handler)
  }

  begin(status: number, headers: readonly string[]): void {
    const isStream = status === 200 && isEventStream(headers)
    if (!this.begun) {
      this.begun = true
      this.#isStream = isStream
      if (!isStream) this.kept.release()
      this.client.begin(status, headers)
    } else if (!isStream) {
      const pod = headerOf(headers, 'x-phyllo-pod') ?? ''
      this.#refusal = { what: `pod ${pod} did not go on with the answer, status ${status}`, text: '' }
    }
  }

  write(chunk: Uint8Array | string): boolean {
    if (this.#refusal !== undefined) {
      if (this.#refusal.text.length < MOST_REFUSAL_BYTES) this.#refusal.text += Buffer.from(chunk).toString()
      return true
    }
    // The text is the relay's own word on a stream that nobody goes on with.
    if (!this.#isStream || typeof chunk === 'string') return this.#send(chunk)
    const whole = this.#whole(chunk)
    if (whole === undefined) return true
    if (whole.includes(ERROR)) return this.#judge(whole)
    return this.#pass(whole)
  }

  end(body?: Uint8Array | string): void {
    if (this.#refusal === undefined && !this.#isStream) return this.#endPlain(body)
    if (body !== undefined) this.write(body)
    if (this.#refusal !== undefined) {
      const { what, text } = this.#refusal
      this.refused = new PhylloError(
        'pod_error',
        text === '' ? what : `${what}: ${text.slice(0, MOST_REFUSAL_BYTES)}`,
      )
      return this.fail(this.refused)
    }
    const rest = this.#events.rest()
    // An event without a blank line behind it, as some servers end.
    if (rest !== undefined) this.#send(this.#resumed?.rewrite(rest) ?? rest)
    this.client.end()
  }

  abort(): void {
    if (this.#refusal === undefined) this.client.abort()
    else this.end()
  }

  broken(error: PhylloError): boolean {
    // What broke off is no answer, and the client is told what there is of it.
    if (this.#refusal !== undefined) return false
    // Of a whole stream that is the beginning of an event, which nobody has seen.
    this.#events.rest()
    return this.#isStream && !this.closed && this.breaks.broken(error)
  }

  /** All events that went to the client; undefined: they were too many to be kept. */
  soFar(): Buffer | undefined {
    return this.kept.cut ? undefined : Buffer.concat(this.kept.pieces())
  }

  /** From now on another pod says the rest. */
  resume(events: ResumedEvents): void {
    this.#resumed = events
  }

  /** The answer is whole but for its end. `done`: even that is there. */
  finish(done: boolean): void {
    if (!done) this.#send(DONE)
    this.client.end()
  }

  /** Ends the stream with an error event; a no-op where it has ended. */
  fail(error: PhylloError): void {
    if (this.closed) return
    this.#send(errorEvent(error))
    this.client.end()
  }

  #pass(whole: Buffer): boolean {
    const events = this.#resumed === undefined ? whole : this.#resumed.rewrite(whole)
    if (events.length === 0) return true
    if (this.#events.hasBroken) this.kept.release()
    this.kept.add(events)
    return this.#send(events)
  }

  /**
   * An error in words, as vLLM sends one when its engine core has died and its server lives on. Where another pod goes on,
   * the rest of this one's stream is for nobody.
   *
   * @throws PhylloError pod_error where another pod goes on
   */
  #judge(events: Buffer): boolean {
    let more = true
    for (const event of eventsIn(events)) {
      const words = errorIn(event)
      const error = words && new PhylloError('pod_error', `a pod failed in its answer: ${words}`)
      if (error && !this.closed && this.breaks.broken(error)) throw error
      // Of one that is left out, a client that was slow before is none the quicker.
      more = this.#pass(event) && more
    }
    return more
  }

  #endPlain(body?: Uint8Array | string): void {
    if (body !== undefined) this.bytes += Buffer.byteLength(body)
    this.client.end(body)
  }

  #whole(chunk: Uint8Array): Buffer | undefined {
    return this.#events.take(asBuffer(chunk))
  }

  #send(chunk: Uint8Array | string): boolean {
    this.bytes += Buffer.byteLength(chunk)
    return this.client.write(chunk)
  }
}

/** What an event says went wrong on the pod's side; undefined for anything else, as a fault of the request's. */
function errorIn(event: Buffer): string | undefined {
  const data = dataOf(event)
  const error = data && fieldIn(parsedJson(data), 'error')
  const code = fieldIn(error, 'code')
  const isPods = typeof code === 'number' && isPodFailure(code)
  return isPods ? String(fieldIn(error, 'message')).slice(0, MOST_REFUSAL_BYTES) : undefined
}

function headerOf(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
  return undefined
}

/** Events in plain text. */
function isEventStream(headers: readonly string[]): boolean {
  const encoding = headerOf(headers, 'content-encoding') ?? 'identity'
  return /^text\/event-stream\b/i.test(headerOf(headers, 'content-type') ?? '') && encoding === 'identity'
}
