/** One flush at the end of the tick for everything that wrote in it. */

export interface TickFlush {
  /** Must not throw. */
  flushTick(): void
}

const waiting: TickFlush[] = []
/** `then` on a settled promise is a microtask without queueMicrotask's async resource. */
const tick = Promise.resolve()

/** Calls `flushTick` when the running callback is over. One microtask serves all, and no closure is made. */
export function flushAtTickEnd(writer: TickFlush): void {
  if (waiting.push(writer) === 1) void tick.then(flushAll)
}

function flushAll(): void {
  for (let i = 0; i < waiting.length; i++) waiting[i]?.flushTick()
  waiting.length = 0
}
