/** Entry of an engine in a process of its own: options as JSON in the first argument, the URL as a message back. */
import { type RunningEngine, startEngine } from './http.js'
import { engineOptions } from './options.js'

// The parent decides when it ends, and a parent that dies, or gives up while this one is starting, must not leave
// engines behind.
process.once('disconnect', () => void end())
// Ctrl-C goes to the whole process group: the parent hears it too and comes to the end in its own order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)

let engine: RunningEngine | null = null

try {
  const options: unknown = JSON.parse(process.argv[2] ?? '{}')
  engine = await startEngine(engineOptions.parse(options))
  tell({ url: engine.url, kvEvents: engine.kvEvents, kvAddress: engine.kvAddress })
} catch (error) {
  process.exitCode = 1
  tell({ error: error instanceof Error ? error.message : String(error) })
}

/** Without a parent to listen there is nothing to run for. */
function tell(message: object): void {
  if (process.send === undefined || !process.connected) void end()
  else
    process.send(message, undefined, undefined, failure => {
      if (failure !== null) void end()
    })
}

async function end(): Promise<void> {
  await engine?.close()
  process.exit()
}
