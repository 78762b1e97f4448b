/**
 * The sampled decision log, a worker's side: which requests are sampled, and their lines. A request that is not sampled
 * pays one random number; with a rate of 0 there is no sampler at all.
 */
import type { CacheLook } from '../data/cache-ages.js'
import type { PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { KeptDraws } from '../decision/draws.js'
import { makeRecord } from '../decision/record/make.js'
import { Trace } from '../decision/trace.js'
import type { ExecutionRecord } from '../execution/events.js'
import type { Usage } from '../execution/usage.js'
import type { LineBatcher } from '../telemetry/decision-log/channel.js'

export interface SamplerOptions {
  /** 0 to 1. */
  readonly rate: number
  /** Lines hold the beginning of the request's body. */
  readonly prompt: boolean
  /** Bodies up to this size are matched even where the profile does not ask, so that other profiles can be tried. */
  readonly matchBytes: number
  readonly pods: PodView
  readonly look: CacheLook
  readonly lines: Pick<LineBatcher, 'add'>
  /** 0 ≤ x < 1. */
  readonly random: () => number
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** A line could not be made: a fault of ours, and not the request's. */
  readonly onFault: (error: unknown) => void
}

/** Bytes of a body that a line may hold: a prompt of 16,000 tokens. */
const BODY_BYTES = 64 * 1024

class SampledTrace extends Trace {
  usage: Pick<Usage, 'promptTokens' | 'cachedTokens'> | undefined

  constructor(
    { pods, look, matchBytes }: SamplerOptions,
    readonly time: number,
    readonly body: string | undefined,
  ) {
    super(pods, undefined, { draws: new KeptDraws(), look, matchBytes })
  }
}

export class DecisionSampler {
  constructor(private readonly options: SamplerOptions) {}

  /** Decides whether an opened request's decision is recorded. What names no model takes no decision worth one. */
  consider(ctx: RoutingContext): void {
    const { rate, random } = this.options
    if (ctx.modelId < 0 || random() >= rate) return
    const { prompt, now } = this.options
    // Copied now: the context lets go of the body long before the line is made.
    const body = prompt ? ctx.body.toString('utf8', 0, BODY_BYTES) : undefined
    ctx.trace = new SampledTrace(this.options, now(), body)
  }

  /** The engine told its counts; comes before `done`, if at all. */
  told({ trace }: RoutingContext, usage: Usage): void {
    if (trace instanceof SampledTrace) trace.usage = usage
  }

  /** The request is over. */
  done(ctx: RoutingContext, record: ExecutionRecord): void {
    if (!(ctx.trace instanceof SampledTrace)) return
    try {
      this.#write(ctx.trace, ctx, record)
    } catch (error) {
      this.options.onFault(error)
    }
  }

  #write(trace: SampledTrace, ctx: RoutingContext, ended: ExecutionRecord): void {
    const { time, body, usage } = trace
    const { pod, status, outcome, error, attempts, firstByteMs, durationMs, bytes } = ended
    const told = (count: number | undefined): number | null =>
      count === undefined || count < 0 ? null : count
    const record = makeRecord(trace, {
      time,
      head: ctx.request,
      stream: ctx.stream,
      body,
      outcome: {
        pod: pod?.id ?? null,
        status,
        outcome,
        error: error?.code ?? null,
        attempts,
        ttftMs: firstByteMs < 0 ? null : thousandths(firstByteMs),
        durationMs: thousandths(durationMs),
        bytes,
        promptTokens: told(usage?.promptTokens),
        cachedTokens: told(usage?.cachedTokens),
      },
    })
    if (record !== undefined) this.options.lines.add(JSON.stringify(record))
  }
}

const thousandths = (ms: number): number => Math.round(ms * 1000) / 1000
