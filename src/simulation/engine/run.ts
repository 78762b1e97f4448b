/** `phyllo engine`: an engine until a signal ends it. */
import { once } from 'node:events'
import { type RunningEngine, startEngine } from './http.js'
import type { EngineOptionsInput } from './options.js'

/**
 * Runs until SIGINT or SIGTERM, then closes.
 * @param say takes one line of text for people
 */
export async function runEngine(options: EngineOptionsInput, say: (line: string) => void): Promise<void> {
  const engine: RunningEngine = await startEngine(options)
  say(`simulated engine on ${engine.url}, model ${options.model ?? 'demo'}`)
  for (const { endpoint, replay } of engine.kvEvents) {
    say(`KV events on ${endpoint}${replay === null ? '' : `, replays on ${replay}`}`)
  }
  if (engine.kvAddress !== null) {
    const { host, port } = engine.kvAddress
    say(`hand-offs as ${options.role ?? 'both'} engine ${engine.engineId} on ${host}:${port}`)
  }
  const ended = new AbortController()
  await Promise.race(
    ['SIGINT', 'SIGTERM'].map(signal =>
      once(process, signal, { signal: ended.signal }).catch(() => undefined),
    ),
  )
  ended.abort()
  await engine.close()
}
