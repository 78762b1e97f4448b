/** Which adapter serves: uWebSockets.js where it loads, node:http elsewhere, or what the configuration says. */
import type { ListenerFactory } from './listener.js'
import { nodeListener } from './node.js'
import { uwsFactory } from './uws.js'
import { loadUws } from './uws-module.js'

/** `listen.engine` in the configuration. */
export type ListenEngine = 'auto' | 'uws' | 'node'

/** The adapter, and in one line for the log why it is this one. */
export interface ChosenListener {
  readonly factory: ListenerFactory
  readonly reason: string
}

const FIX =
  'install the optional dependency uWebSockets.js (its Linux binaries need glibc 2.27 on Node 20 and glibc 2.38 on ' +
  'Node 22 and 24, and there is none for musl), or set listen.engine to auto or node'

/**
 * Chooses the adapter. Call it on the main thread before the first worker starts, even if only workers listen: see
 * `loadUws`. Rejects if uWebSockets.js was asked for and does not load here.
 */
export async function chooseListener(engine: ListenEngine): Promise<ChosenListener> {
  if (engine === 'node') return { factory: nodeListener, reason: 'node:http, as configured' }
  try {
    const loaded = await loadUws()
    const why = engine === 'uws' ? 'as configured' : 'the default'
    return { factory: uwsFactory(loaded), reason: `uWebSockets.js, ${why}` }
  } catch (error) {
    const cause = causeLine(error)
    if (engine === 'uws')
      throw new Error(`uWebSockets.js does not load here (${cause}): ${FIX}`, { cause: error })
    return { factory: nodeListener, reason: `node:http, as uWebSockets.js does not load here (${cause})` }
  }
}

/** The line of the error that names the cause: the package wraps the loader's own message in general advice. */
function causeLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const lines = message.split('\n').filter(line => line.trim() !== '')
  return (lines.find(line => line.startsWith('Error: ')) ?? lines[0] ?? message).replace(/^Error: /, '')
}
