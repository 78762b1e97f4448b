import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'

export { sleep }

/** Waits until the condition holds; fails the test after twenty seconds. */
export async function until(t: ExecutionContext, condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > end) return t.fail(`never happened: ${what}`)
    await sleep(2)
  }
}
