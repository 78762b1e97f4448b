/** What became of each request of a run, in columns: a trace may have a million. Times are virtual milliseconds. */

/** How a request ended. */
export const FATE = {
  /** Not yet. */
  open: 0,
  done: 1,
  /** The router answers 503: all pods that could are busy. */
  overloaded: 2,
  /** The router answers 503: there is no pod for it. */
  noPod: 3,
  /** The pod that was picked could never hold it, and answers 400. */
  tooLong: 4,
} as const

export class Recorder {
  /** When the request reached the router. */
  readonly arrivedAt: Float64Array
  readonly firstTokenAt: Float64Array
  readonly endedAt: Float64Array
  /** Number of the pod; -1 before one is picked. */
  readonly pod: Int32Array
  /** Found in the cache of the pod that computed the prompt. */
  readonly cachedTokens: Float64Array
  /** Number of the pod that computed the prompt: `pod`, or the one that handed it over; -1 before it is picked. */
  readonly prefillPod: Int32Array
  /** Prompt tokens whose blocks came from another pod. */
  readonly movedTokens: Float64Array
  /** From when the prompt was computed to when the pod that answers had its blocks. */
  readonly handOffMs: Float64Array
  readonly preemptions: Int32Array
  readonly fate: Uint8Array
  /** Requests that have come to an end, whichever. */
  ended = 0

  constructor(readonly size: number) {
    this.arrivedAt = new Float64Array(size)
    this.firstTokenAt = new Float64Array(size)
    this.endedAt = new Float64Array(size)
    this.pod = new Int32Array(size).fill(-1)
    this.prefillPod = new Int32Array(size).fill(-1)
    this.movedTokens = new Float64Array(size)
    this.handOffMs = new Float64Array(size)
    this.cachedTokens = new Float64Array(size)
    this.preemptions = new Int32Array(size)
    this.fate = new Uint8Array(size)
  }

  /** Throws if the request has ended before: none may end twice. */
  end(request: number, at: number, fate: number): void {
    if (this.fate[request] !== FATE.open) throw new Error(`request ${request} ended twice`)
    this.fate[request] = fate
    this.endedAt[request] = at
    this.ended++
  }
}
