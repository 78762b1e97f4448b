/** A process that follows a publisher and ends when it is told to: `exit` or `throw`, its endpoint, its replay endpoint. */
import { KvEvents } from '#phyllo/data/kv-events/kv-events.js'
import { loadNative } from '#phyllo/data/native.js'
import { PodRegistry } from '#phyllo/data/pod-registry.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { STATE_OPTIONS } from '../state-options.js'

export type Ending = 'exit' | 'throw'

const [how, endpoint, replay] = process.argv.slice(2)
if (process.send !== undefined && endpoint !== undefined) {
  const stateName = 'ending'
  const state = loadNative().SharedState.open(stateName, STATE_OPTIONS)
  const events = new KvEvents({
    stateName,
    dialIn: { bind: [], replayPort: 0, firstSequence: 0 },
    log: createLogger({ level: 'silent', format: 'json' }),
  })
  const registry = new PodRegistry(state, async () => events.follow(registry.pods))
  process.on('message', () => {
    if (how === 'throw') throw new Error('told to')
    process.exit(7)
  })
  const kvEvents = { endpoint, replay, topic: '', firstSequence: 0 }
  await registry.add({ url: 'http://a.test:8000', models: ['m'], kvEvents })
}
