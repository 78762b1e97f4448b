/** The events of a streamed response, in OpenAI's order and numbering. */
import type { EventStream } from '../respond.js'
import { itemId, outputItem, outputText, type ResponseState, responseBody } from './responses-body.js'

export class ResponseEvents {
  private sequence = 0
  private readonly place

  constructor(
    private readonly stream: EventStream,
    private readonly state: ResponseState,
  ) {
    this.place = { item_id: itemId(state), output_index: 0 }
  }

  begin(): void {
    const response = responseBody(this.state, null)
    this.send('response.created', { response })
    this.send('response.in_progress', { response })
  }

  token(at: number): void {
    const { answer, tool } = this.state
    if (at === 0) this.open()
    const delta = answer.pieces[at] ?? ''
    if (tool !== null) this.send('response.function_call_arguments.delta', { ...this.place, delta })
    else this.send('response.output_text.delta', { ...this.place, content_index: 0, delta, logprobs: [] })
  }

  end(response: Record<string, unknown>): void {
    const { answer, tool } = this.state
    if (tool === null) {
      const place = { ...this.place, content_index: 0 }
      this.send('response.output_text.done', { ...place, text: answer.text, logprobs: [] })
      this.send('response.content_part.done', { ...place, part: outputText(answer.text) })
    } else {
      const done = { ...this.place, name: tool.name, arguments: answer.text }
      this.send('response.function_call_arguments.done', done)
    }
    this.send('response.output_item.done', { output_index: 0, item: outputItem(this.state, 'completed') })
    const last = response['status'] === 'incomplete' ? 'response.incomplete' : 'response.completed'
    this.send(last, { response })
    this.stream.end()
  }

  private open(): void {
    this.send('response.output_item.added', { output_index: 0, item: outputItem(this.state, 'in_progress') })
    if (this.state.tool !== null) return
    this.send('response.content_part.added', { ...this.place, content_index: 0, part: outputText('') })
  }

  private send(type: string, fields: object): void {
    this.stream.send({ type, sequence_number: this.sequence++, ...fields }, type)
  }
}
