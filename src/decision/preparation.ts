/** The Prepare stage made to run: one fused native call, then TypeScript plugins in the profile's order. */
import { BODY_KINDS, isTicket, NO_TICKET, REJECTED } from '../data/native.js'
import type { PrepareQueue } from '../data/prepare-queue.js'
import { PhylloError } from '../errors.js'
import type { RoutingContext } from './context.js'
import { isForClient, type PluginFailed } from './outcome.js'
import type { AnyPrepareSpec, PluginEnv, PrepareFn } from './plugin.js'
import type { AnySlot } from './slot.js'
import { cachedTokens } from './slots.js'
import type { Trace } from './trace.js'

interface Preparer {
  readonly name: string
  readonly run: PrepareFn<AnySlot, AnySlot>
}

/** Which bodies go to the thread pool, and how much of them may wait there. */
export interface PoolLimits {
  /** Body bytes above which Prepare runs on the thread pool. */
  readonly asyncPrepareBytes: number
  readonly prepareQueue: PrepareQueue
}

export class Preparation {
  /** OPS bits of the fused native call; 0: there is none. */
  readonly ops: number
  readonly #env: PluginEnv
  readonly #limits: PoolLimits
  readonly #preparers: readonly Preparer[]
  readonly #readsCache: boolean
  readonly #onFailed: PluginFailed

  constructor(specs: readonly AnyPrepareSpec[], env: PluginEnv, limits: PoolLimits, onFailed: PluginFailed) {
    this.#onFailed = onFailed
    this.ops = specs.reduce((bits, spec) => bits | spec.op, 0)
    this.#env = env
    this.#limits = limits
    this.#preparers = specs.flatMap(spec => {
      const run = spec.create(env)
      return run === null ? [] : [{ name: spec.name, run }]
    })
    this.#readsCache = specs.some(spec => spec.op === 0 && spec.reads.includes(cachedTokens))
  }

  /** See `CompiledProfile.prepare`. */
  run(ctx: RoutingContext, trace: Trace | undefined): void | Promise<void> {
    trace?.beginPrepare(this.#env.profile)
    if (this.ops === 0 || ctx.modelId < 0) return this.#plugins(ctx, 0, trace)
    const { native } = this.#env.lane
    const kind = BODY_KINDS[ctx.request.kind]
    if (ctx.body.length > this.#limits.asyncPrepareBytes) return this.#onPool(ctx, kind, trace)
    return this.#prepared(ctx, native.prepare(ctx.modelId, this.ops, kind, ctx.body, ctx.fields), trace)
  }

  /** Rejects with `overloaded` where too much waits for the pool already. */
  async #onPool(ctx: RoutingContext, kind: number, trace: Trace | undefined): Promise<void> {
    const { prepareQueue } = this.#limits
    const { length } = ctx.body
    const { native } = this.#env.lane
    const pending = prepareQueue.run(length, async () =>
      native.prepareAsync(ctx.modelId, this.ops, kind, ctx.body, ctx.fields),
    )
    if (pending === undefined) throw queueFull(length, prepareQueue.limitBytes)
    let code: number
    try {
      code = await pending
    } catch (error) {
      throw preparationError(error)
    }
    await this.#prepared(ctx, code, trace)
  }

  #prepared(ctx: RoutingContext, code: number, trace: Trace | undefined): void | Promise<void> {
    const { native } = this.#env.lane
    if (!isTicket(code)) throw new PhylloError('template_error', native.lastError())
    // A request is prepared once; should it be again, the first ticket must not leak.
    if (ctx.ticket !== NO_TICKET) native.drop(ctx.ticket)
    ctx.ticket = code
    return this.#plugins(ctx, 0, trace)
  }

  #plugins(ctx: RoutingContext, from: number, trace: Trace | undefined): void | Promise<void> {
    // The lane's cached-token snapshot is of the last selection, whose ticket's number may be in use again.
    if (this.#readsCache && from === 0) this.#env.lane.beginSelection()
    for (let i = from; i < this.#preparers.length; i++) {
      const preparer = this.#preparers[i]
      if (preparer === undefined) break
      trace?.start()
      const pending = this.#start(preparer, ctx)
      if (pending instanceof Promise) return this.#resume(pending, preparer.name, ctx, i + 1, trace)
      trace?.prepared(preparer.name)
    }
    trace?.endPrepare(ctx, this.#env, this.ops)
  }

  async #resume(
    pending: Promise<void>,
    name: string,
    ctx: RoutingContext,
    next: number,
    trace: Trace | undefined,
  ): Promise<void> {
    try {
      await pending
    } catch (error) {
      this.#failed(name, error)
    }
    trace?.prepared(name)
    await this.#plugins(ctx, next, trace)
  }

  #start(preparer: Preparer, ctx: RoutingContext): void | Promise<void> {
    try {
      return preparer.run(ctx)
    } catch (error) {
      this.#failed(preparer.name, error)
    }
  }

  /** A plugin threw or rejected: the decision goes on without what it would have found, as those that read it will. */
  #failed(plugin: string, error: unknown): void {
    if (isForClient(error)) throw error
    this.#onFailed(this.#env.profile, plugin, error)
  }
}

function queueFull(bytes: number, limit: number): PhylloError {
  const message = `too many long prompts wait to be tokenized for one of ${bytes} bytes more`
  return new PhylloError('overloaded', `${message} (limits.queuedPrepareBytes is ${limit})`)
}

/** Of the request, if the native core says so; anything else it rejects with is a fault of ours. */
function preparationError(error: unknown): unknown {
  const isRequests = error instanceof Error && 'code' in error && error.code === REJECTED
  return isRequests ? new PhylloError('template_error', error.message, null, { cause: error }) : error
}
