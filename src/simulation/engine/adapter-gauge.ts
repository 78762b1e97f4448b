/**
 * vLLM's gauge of LoRA adapters: a series for each combination of running and waiting ones that there was, set to the
 * time at which it last came to be. A request waits until its first token.
 */

/** Combinations that are remembered; vLLM keeps all of them, and a simulation may run for days. */
const MOST_SERIES = 1000

interface Request {
  readonly adapter: string
  isRunning: boolean
}

export class AdapterGauge {
  readonly #requests = new Map<string, Request>()
  /** Times by labels, the latest last; in seconds since 1970. */
  readonly #series = new Map<string, number>()

  /** @param now milliseconds since 1970 */
  constructor(
    private readonly max: number,
    private readonly now: () => number = Date.now,
  ) {}

  waits(id: string, adapter: string): void {
    this.#requests.set(id, { adapter, isRunning: false })
    this.#set()
  }

  /** The engine works on it; nothing happens for one without an adapter. */
  runs(id: string): void {
    const request = this.#requests.get(id)
    if (request === undefined || request.isRunning) return
    request.isRunning = true
    this.#set()
  }

  leaves(id: string): void {
    if (this.#requests.delete(id)) this.#set()
  }

  /** Sample lines; none before the first request for an adapter. */
  render(): string[] {
    return [...this.#series].map(([labels, seconds]) => `vllm:lora_requests_info{${labels}} ${seconds}`)
  }

  #set(): void {
    const labels = [
      `max_lora="${this.max}"`,
      `running_lora_adapters="${this.#names(true)}"`,
      `waiting_lora_adapters="${this.#names(false)}"`,
    ].join(',')
    this.#series.delete(labels)
    this.#series.set(labels, this.now() / 1000)
    const [oldest] = this.#series.keys()
    if (this.#series.size > MOST_SERIES && oldest !== undefined) this.#series.delete(oldest)
  }

  #names(isRunning: boolean): string {
    const own = [...this.#requests.values()].filter(request => request.isRunning === isRunning)
    return escaped([...new Set(own.map(({ adapter }) => adapter))].join(','))
  }
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
