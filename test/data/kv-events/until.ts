/** Waits for what another thread or a socket brings about. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Long enough for any machine: it is reached only by what never happens. */
const PATIENCE_MS = 30_000

export async function until(isSo: () => boolean, otherwise: string | (() => string)): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(typeof otherwise === 'string' ? otherwise : otherwise())
    await sleep(5)
  }
}
