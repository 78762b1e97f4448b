/**
 * One request in virtual time, from its decision to its end: its steps on their pods, and the hand-off between them. The
 * prefill pod computes the prompt and keeps its blocks; the decode pod makes room for them, and when both are done they
 * travel; then the one frees its blocks and the other answers.
 */
import type { Refusal } from '../../decision/plugin.js'
import type { EngineEvent } from '../engine/request.js'
import type { EventQueue } from './event-queue.js'
import type { VirtualPod } from './pod.js'
import { FATE, type Recorder } from './recorder.js'
import type { Decision, Learnable, VirtualRouter } from './router.js'
import type { Transfers } from './transfers.js'
import type { Leg } from './way.js'
import type { VirtualRequest } from './workload.js'

/**
 * After so long the prefill pod takes its blocks back, and the prompt is computed where it is decoded: vLLM's
 * VLLM_NIXL_ABORT_REQUEST_TIMEOUT. Without it two pods of both roles, each full of blocks that the other is to pull,
 * would wait for ever.
 */
const KEPT_MS = 480_000

export interface RunParts {
  readonly queue: EventQueue
  readonly router: VirtualRouter
  readonly pods: readonly VirtualPod[]
  readonly transfers: Transfers
  readonly recorder: Recorder
  /** The request is over. `answer`: what the router learns of it, once. */
  ended(number: number, fate: number, answer?: Learnable): void
}

/** A leg that a pod works on. */
interface Sent {
  readonly leg: Leg
  /** The pod's number. */
  readonly at: number
  readonly pod: VirtualPod
  readonly sentAt: number
}

/** Name of a request's prefill; that of all else is its number. */
const PREFILL = 'p'

/** Whose event it is. */
export const numberOf = ({ id }: EngineEvent): number => Number.parseInt(id, 10)

export class RequestRun {
  readonly #parts: RunParts
  readonly #number: number
  readonly #id: string
  readonly #request: VirtualRequest
  readonly #decision: Decision
  #prefill: Sent | undefined
  #answer: Sent | undefined
  #learnable: Learnable | undefined
  /** When the prompt's blocks were ready to be pulled; NaN before, and once nobody can pull them any longer. */
  #readyAt = Number.NaN
  /** Tokens that the decode pod has made room for; -1: it has none yet. */
  #wanted = -1

  constructor(parts: RunParts, number: number, request: VirtualRequest, decision: Decision) {
    this.#parts = parts
    this.#number = number
    this.#id = String(number)
    this.#request = request
    this.#decision = decision
  }

  /** Sends the steps that are booked. */
  send(): void {
    const { legs, way } = this.#decision
    const { router, pods, queue } = this.#parts
    const sent = legs.map((leg): Sent => {
      const at = router.placeOf(leg.lease)
      const pod = pods[at]
      if (pod === undefined) throw new Error(`unreachable: there is no pod ${at}`)
      return { leg, at, pod, sentAt: queue.now }
    })
    // Pods were picked anew that pull nothing: what is kept is kept for nobody.
    if (!legs.some(({ kind }) => kind === 'decode')) this.#giveUp()
    if (sent.some(({ pod, leg }) => !pod.fits(this.#request, leg.kind === 'prefill')))
      return this.#tooLong(legs)
    for (const each of sent) this.#sendTo(each)
    const [relayed] = sent.filter(({ leg }) => leg.kind !== 'prefill')
    if (way.isLastStage && relayed !== undefined) {
      this.#learnable = router.end(this.#decision, relayed.leg.lease)
    }
  }

  hear(event: EngineEvent): void {
    if (event.id.endsWith(PREFILL)) {
      if (event.type === 'finished') this.#prefilled(event.at, event.cachedTokens, event.preemptions)
    } else if (event.type === 'reserved') {
      this.#wanted = event.missing
      this.#pull()
    } else if (event.type === 'first-token') this.#firstToken(event.at)
    else if (event.type === 'finished') this.#finished(event.cachedTokens, event.preemptions)
  }

  /** Its answer has grown by a token; a prefill makes only one, the first. */
  token(): void {
    this.#answer?.leg.lease.token()
  }

  #sendTo(sent: Sent): void {
    const { recorder } = this.#parts
    const { pod, at } = sent
    const { kind } = sent.leg
    if (kind === 'prefill') this.#prefill = sent
    else this.#answer = sent
    if (kind !== 'prefill') recorder.pod[this.#number] = at
    if (kind !== 'decode') recorder.prefillPod[this.#number] = at
    if (kind === 'prefill') pod.submitPrefill(this.#id + PREFILL, this.#request)
    else if (kind === 'decode') pod.submitDecode(this.#id, this.#request)
    else pod.submit(this.#id, this.#request)
  }

  #tooLong(legs: readonly Leg[]): void {
    const { router } = this.#parts
    this.#giveUp()
    for (const { lease } of legs) router.release(lease)
    router.drop(this.#decision)
    this.#parts.ended(this.#number, FATE.tooLong)
  }

  #refused(refusal: Refusal): void {
    this.#giveUp()
    this.#parts.ended(this.#number, refusal === 'overloaded' ? FATE.overloaded : FATE.noPod)
  }

  /** The prompt is computed: now who answers is picked, where that was not done before. */
  #prefilled(at: number, cachedTokens: number, preemptions: number): void {
    const { router, recorder, queue } = this.#parts
    if (this.#prefill === undefined) throw new Error(`unreachable: request ${this.#id} has no prefill`)
    const { leg, sentAt } = this.#prefill
    leg.lease.prefillDone(at - sentAt)
    router.release(leg.lease)
    recorder.cachedTokens[this.#number] = cachedTokens
    recorder.preemptions[this.#number] = preemptions
    this.#readyAt = at
    queue.at(at + KEPT_MS, () => this.#giveUp())
    if (this.#answer !== undefined) return this.#pull()
    const refusal = router.next(this.#decision)
    if (refusal === undefined) this.send()
    else this.#refused(refusal)
  }

  /** Puts the blocks on their way, if they are there and so is room for them. */
  #pull(): void {
    const { transfers, recorder, queue } = this.#parts
    const readyAt = this.#readyAt
    const [from, to] = [this.#prefill, this.#answer]
    if (Number.isNaN(readyAt) || this.#wanted < 0 || from === undefined || to === undefined) return
    this.#readyAt = Number.NaN
    const end = transfers.begin(from.at, to.at, this.#wanted, queue.now)
    recorder.movedTokens[this.#number] = this.#wanted
    recorder.handOffMs[this.#number] = end - readyAt
    queue.at(end, () => {
      to.pod.received(this.#id)
      from.pod.release(this.#id + PREFILL)
    })
  }

  /** Nobody pulls the blocks any longer. */
  #giveUp(): void {
    if (Number.isNaN(this.#readyAt)) return
    this.#readyAt = Number.NaN
    this.#prefill?.pod.release(this.#id + PREFILL)
    this.#answer?.pod.loseRemote(this.#id)
  }

  #firstToken(at: number): void {
    const { recorder } = this.#parts
    if (this.#answer === undefined) throw new Error(`unreachable: request ${this.#id} has no answer`)
    const { leg, sentAt } = this.#answer
    recorder.firstTokenAt[this.#number] = at
    leg.lease.firstByte(at - sentAt)
    leg.lease.token()
    leg.step.learn?.(leg.lease.uncachedTokens, at - sentAt)
  }

  #finished(cachedTokens: number, preemptions: number): void {
    const { router, recorder } = this.#parts
    const number = this.#number
    if (this.#answer === undefined) throw new Error(`unreachable: request ${this.#id} has no answer`)
    if (this.#prefill === undefined) recorder.cachedTokens[number] = cachedTokens
    recorder.preemptions[number] = (recorder.preemptions[number] ?? 0) + preemptions
    router.release(this.#answer.leg.lease)
    this.#parts.ended(number, FATE.done, this.#learnable)
  }
}
