/** A client that records its answer, and can be slow or leave. */
import type { ClientSink } from '#phyllo/execution/sink.js'

/** Records an answer. `take` says after each piece whether the client can take more. */
export class RecordingSink implements ClientSink {
  closed = false
  status = 0
  headers: readonly string[] = []
  readonly chunks: Buffer[] = []
  begins = 0
  writes = 0
  ended = false
  aborted = false
  /** Pieces written after a false `write`, before the sink said that it has room. */
  pushed = 0
  #blocked = false
  #onAborted: (() => void) | undefined
  #onWritable: (() => void) | undefined

  constructor(private readonly take: (chunk: Buffer) => boolean = () => true) {}

  onAborted(handler: () => void): void {
    this.#onAborted = handler
  }
  begin(status: number, headers: readonly string[]): void {
    this.begins++
    this.status = status
    this.headers = headers
  }
  write(chunk: Uint8Array | string): boolean {
    if (this.closed) return true
    if (this.#blocked) this.pushed++
    const bytes = Buffer.from(chunk)
    this.chunks.push(bytes)
    this.writes++
    this.#blocked = !this.take(bytes)
    return !this.#blocked
  }
  onWritable(handler: () => void): void {
    this.#onWritable = handler
  }
  end(body?: Uint8Array | string): void {
    if (body !== undefined) this.chunks.push(Buffer.from(body))
    this.ended = true
    this.closed = true
  }
  abort(): void {
    this.aborted = true
    this.closed = true
  }

  /** The client has room again. */
  drain(): void {
    this.#blocked = false
    this.#onWritable?.()
  }
  /** The client goes away. */
  leave(): void {
    this.closed = true
    this.#onAborted?.()
  }
  get blocked(): boolean {
    return this.#blocked
  }
  get body(): Buffer {
    return Buffer.concat(this.chunks)
  }
  get text(): string {
    return this.body.toString()
  }
  header(name: string): string | undefined {
    const at = this.headers.findIndex((text, i) => i % 2 === 0 && text === name)
    return at < 0 ? undefined : this.headers[at + 1]
  }
  get errorCode(): string {
    return /"code":"(\w+)"/.exec(this.text)?.[1] ?? ''
  }
}
