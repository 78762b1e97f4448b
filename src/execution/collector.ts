/** Keeps the answer of a step that does not go to the client, for later steps. */
import type { PodInfo } from '../data/pod-view.js'
import { PhylloError } from '../errors.js'
import { relayedHeaders } from './headers.js'
import type { StepResult } from './workflow.js'

/**
 * Most bytes of a buffered answer. A prefill's hand-off parameters are some KiB (block ids: 8 bytes and a comma per
 * block of 16 tokens, so 64 KiB for 128k tokens); logprobs of the whole prompt make the rest.
 */
const MOST_BYTES = 16_777_216

export class Collector {
  readonly #chunks: Buffer[] = []
  #bytes = 0

  constructor(
    private readonly pod: PodInfo,
    private readonly status: number,
    private readonly raw: readonly Buffer[],
  ) {}

  /** @throws PhylloError pod_bad_response if the answer grows over 16 MiB. */
  chunk(chunk: Buffer): boolean {
    this.#bytes += chunk.length
    if (this.#bytes > MOST_BYTES) {
      throw new PhylloError(
        'pod_bad_response',
        `pod ${this.pod.id} sent more than ${MOST_BYTES} bytes to a step that keeps them`,
      )
    }
    this.#chunks.push(chunk)
    return true
  }

  result(): StepResult {
    const { pod, status } = this
    return {
      pod,
      status,
      headers: relayedHeaders(this.raw).headers,
      body: Buffer.concat(this.#chunks, this.#bytes),
    }
  }
}
