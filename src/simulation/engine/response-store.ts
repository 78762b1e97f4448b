/** Stored responses: what `GET /v1/responses/{id}` answers and `previous_response_id` continues. */

/** A message or tool result in chat form. */
export type HistoryMessage = Readonly<Record<string, unknown>>

export interface StoredResponse {
  readonly body: Readonly<Record<string, unknown>>
  /** The conversation up to and including the answer. */
  readonly history: readonly HistoryMessage[]
}

/** Far more than any test or demo makes; bounds the memory of a long-running engine. */
const MOST_RESPONSES = 2_000

export class ResponseStore {
  private readonly responses = new Map<string, StoredResponse>()

  get(id: string): StoredResponse | undefined {
    return this.responses.get(id)
  }

  set(id: string, response: StoredResponse): void {
    this.responses.set(id, response)
    if (this.responses.size <= MOST_RESPONSES) return
    const oldest = this.responses.keys().next()
    if (oldest.done !== true) this.responses.delete(oldest.value)
  }
}
