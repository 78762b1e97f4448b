/**
 * Finds the id of a Responses API answer (`resp_…`) in its first bytes, so that a later `previous_response_id` or
 * `GET /v1/responses/{id}` can go to the pod that holds its state. Both shapes carry it early: `{"id":"resp_…",…` in
 * JSON, `data: {"response":{"id":"resp_…"…` in the first event of a stream (vLLM puts a dozen keys before it at most).
 */

/** Bytes looked at. The id comes in the first hundred; `instructions` echoed before it may push it back some. */
const WINDOW = 8192

const pattern = /"id"\s*:\s*"(resp_[\w-]+)"/

export class ResponseIdScanner {
  #text = ''
  #done = false

  constructor(private readonly found: (id: string) => void) {}

  /** Looks at the next piece; an id split over pieces is found when it is whole. */
  feed(chunk: Uint8Array): void {
    if (this.#done) return
    const room = WINDOW - this.#text.length
    this.#text += Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(room, chunk.byteLength)).toString(
      'latin1',
    )
    const id = pattern.exec(this.#text)?.[1]
    this.#done = id !== undefined || this.#text.length >= WINDOW
    if (!this.#done) return
    this.#text = ''
    if (id !== undefined) this.found(id)
  }
}
