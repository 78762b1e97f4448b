/** What happens to a request on its way to a pod and back, as seen by whoever sent it. */
import type { PhylloError } from '../../errors.js'

/**
 * No method is called before `open` has returned, nor after `abort`, `discard`, `onEnd` or `onFault`; but `onFault` once
 * more, with the error, where one of these two throws.
 */
export interface UpstreamHandler {
  /** The head of the answer (200 and up; informational ones are left out). `raw`: name, value, … as received. */
  onHead(status: number, raw: readonly Buffer[]): void
  /** A piece of the body, not to be changed. False: pause until `resume()`. */
  onChunk(chunk: Buffer): boolean
  /** The answer is complete. Trailers are not passed on: no inference API has any. */
  onEnd(): void
  /**
   * The pod, or the way to it, failed. `stale`: the connection had been used before and closed before any byte of an
   * answer, so most likely the pod closed an idle connection while the request was on its way: not its failure.
   */
  onFault(error: PhylloError, stale: boolean): void
}
