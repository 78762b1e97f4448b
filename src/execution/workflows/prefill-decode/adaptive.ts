/**
 * `threshold: adaptive`. Where the decode profile has found whether pods of role `both` are better left to prefills
 * (`ctx.keptApart`, of the filter `decode-apart`), the choice goes with it: all prompts are computed where they are
 * answered, or all but short ones on another pod. Requests one by one would undo it: each prompt that is computed among
 * those that decode stalls them for what it takes, and each that is not leaves a pod of both unused.
 *
 * Else, for each request, what is cheaper for all: that the pod picked for decoding computes the prompt itself, or that
 * another one does and hands its blocks over.
 *
 *     straight: queue and prompt there, and as much delay for each that decodes there
 *     split:    the least of the same over the prefill pods, and the hand-off
 *
 * in milliseconds, of all that wait for a token. Rates are what the pods' answers took, the hand-off what hand-offs took,
 * queues and requests are those of the selection. While nothing is measured, all pods count as equally fast, so that it is
 * a matter of queues and of who decodes where.
 */
import { NO_TICKET, slotOf } from '../../../data/native.js'
import { ownTokens } from '../../../decision/prefill.js'
import { PrefillDelay } from '../../../decision/prefill-delay.js'
import type { Choice, ChoiceInput } from '../../workflow.js'
import { HandOverTime } from './hand-over-time.js'
import { SHORT, whyShort } from './short-way.js'

const CLOSED = 0
/**
 * A split has to cost less than this part of the straight way. What is estimated of pods that both prefill and decode is
 * off by a request or two, two pods are occupied for one request, and where all pods do all it gains nothing to move the
 * work from pods with five requests to those with four.
 */
const WORTH_IT = 0.6

export class AdaptiveChoice implements Pick<Choice, 'why' | 'whyNot'> {
  readonly handOver = new HandOverTime()
  #delay: PrefillDelay | undefined
  /** The latest comparison, in milliseconds; `#pod`: slot of the cheapest prefill pod, -1 for none. */
  #straightOwn = 0
  #straightOthers = 0
  #splitOwn = 0
  #splitOthers = 0
  #handOverMs = 0
  #pod = -1

  why = (input: ChoiceInput): string | undefined => {
    const { ctx, uncachedTokens } = input
    if (ctx.ticket === NO_TICKET) return undefined
    if (ctx.keptApart === false) return 'pods answer faster where each computes its own prompts'
    if (ctx.keptApart === true) return whyShort(uncachedTokens, SHORT)
    if (input.latency === undefined) return undefined
    this.#compare(input)
    if (this.#pod < 0) return 'no prefill pod takes requests'
    const split = this.#splitOwn + this.#splitOthers + this.#handOverMs
    if ((this.#straightOwn + this.#straightOthers) * WORTH_IT > split) return undefined
    // The figures are for whoever reads the record.
    return input.ctx.trace === undefined
      ? 'computing the prompt where it is decoded costs less'
      : this.#text(input)
  }

  whyNot = (input: ChoiceInput): string => {
    const { ctx, uncachedTokens, latency } = input
    // In the order of `why`: what that has not compared are the figures of an earlier request.
    if (ctx.ticket === NO_TICKET) return 'nobody has counted its tokens'
    if (ctx.keptApart === undefined)
      return latency === undefined
        ? `${uncachedTokens} uncached tokens, and nobody learns what they take`
        : this.#text(input)
    return `${uncachedTokens} uncached tokens, and pods answer faster where others compute prompts`
  }

  #compare(input: ChoiceInput): void {
    const { ctx, pod, pods, uncachedTokens } = input
    const { lane } = ctx
    this.#delay ??= delayOf(input)
    const delay = this.#delay
    const decodeSlot = slotOf(pod.ref)
    const cached = lane.cachedTokens(ctx.ticket)
    const length = uncachedTokens + (cached[decodeSlot] ?? 0)
    delay.begin(uncachedTokens)
    delay.look(decodeSlot, uncachedTokens)
    this.#straightOwn = delay.own
    this.#straightOthers = delay.others
    this.#handOverMs = this.handOver.of(uncachedTokens)
    this.#pod = -1
    const pool = pods.stepPool(ctx.model, 'prefill')
    for (let i = 0; i < pool.length; i++) {
      const slot = pool.slots[i] ?? 0
      if (lane.ready[slot] !== 1 || lane.breaker[slot] !== CLOSED) continue
      delay.look(slot, ownTokens(length, cached[slot] ?? 0))
      if (this.#pod >= 0 && delay.own + delay.others >= this.#splitOwn + this.#splitOthers) continue
      this.#pod = slot
      this.#splitOwn = delay.own
      this.#splitOthers = delay.others
    }
  }

  #text({ pod, pods, uncachedTokens }: ChoiceInput): string {
    const other = pods.bySlot(this.#pod)?.id ?? 'none'
    const straight = `${ms(this.#straightOwn)} and ${ms(this.#straightOthers)} for those that decode`
    const split = `${ms(this.#splitOwn)} and ${ms(this.#splitOthers)}, and ${ms(this.#handOverMs)} to hand over`
    return `${uncachedTokens} uncached tokens: on ${pod.id} ${straight}; on ${other} ${split}`
  }
}

const ms = (value: number): string => `${Math.round(value)} ms`

/** The thread's fleet and latency model are the same for all its requests. */
function delayOf({ ctx, pods, latency }: ChoiceInput): PrefillDelay {
  if (latency === undefined) throw new Error('unreachable: nobody learns latencies')
  return new PrefillDelay({ lane: ctx.lane, pods, latency, now: () => ctx.lane.state.now() })
}
