/** Entry of an engine in a process of its own: options as JSON in the first argument, the URL as a message back. */
import { startEngine } from './http.js'
import { engineOptions } from './options.js'

const options: unknown = JSON.parse(process.argv[2] ?? '{}')
try {
  const engine = await startEngine(engineOptions.parse(options))
  process.send?.({ url: engine.url })
  // The parent decides when it ends, and a parent that dies must not leave engines behind.
  process.once('disconnect', () => void engine.close().then(() => process.exit(0)))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
} catch (error) {
  process.send?.({ error: error instanceof Error ? error.message : String(error) })
  process.exitCode = 1
  process.disconnect?.()
}
