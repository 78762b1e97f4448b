/** Simulated engines in processes of their own, so that they share no event loop with what is measured. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { z } from 'zod'
import type { KvAddress } from './engine/hand-off/connector.js'
import type { KvEventsAddress } from './engine/http.js'
import type { EngineOptionsInput } from './engine/options.js'

export interface FleetEngine {
  /** `http://host:port` */
  readonly url: string
  /** Where its ranks publish KV events; empty if it does not. */
  readonly kvEvents: readonly KvEventsAddress[]
  /** Where other engines reach it for hand-offs; null if none does. */
  readonly kvAddress: KvAddress | null
}

export interface Fleet {
  /** `http://host:port` of each engine. */
  readonly urls: readonly string[]
  readonly engines: readonly FleetEngine[]
  /** Empties all prefix caches. Rejects if an engine will not: some request still holds blocks. */
  resetCaches(): Promise<void>
  close(): Promise<void>
}

const address = z.object({ endpoint: z.string(), replay: z.string().nullable() })
const greeting = z.union([
  z.object({
    url: z.string(),
    kvEvents: z.array(address),
    kvAddress: z.object({ host: z.string(), port: z.number() }).nullable(),
  }),
  z.object({ error: z.string() }),
])

/** A second is ample for the last aborted request to leave an engine. */
const RESET_TRIES = 20
const RESET_PAUSE_MS = 50

/** Starts `count` engines on free ports. Rejects, with none left running, if one does not start. */
export const startFleet = (count: number, options: EngineOptionsInput): Promise<Fleet> =>
  startEngines(Array.from({ length: count }, (_, at) => ({ ...options, seed: at + 1 })))

/**
 * Starts an engine on free ports for each of these options: prefill and decode engines in one fleet. Rejects, with
 * none left running, if one does not start.
 */
export async function startEngines(list: readonly EngineOptionsInput[]): Promise<Fleet> {
  const children: ChildProcess[] = []
  const close = async (): Promise<void> => {
    await Promise.all(children.map(stop))
  }
  try {
    const engines = await Promise.all(
      list.map(options => startOne({ ...options, port: 0, kvPort: 0 }, children)),
    )
    const urls = engines.map(({ url }) => url)
    return { urls, engines, close, resetCaches: async () => void (await Promise.all(urls.map(resetCache))) }
  } catch (error) {
    await close()
    throw error
  }
}

function startOne(options: EngineOptionsInput, children: ChildProcess[]): Promise<FleetEngine> {
  const child = fork(fileURLToPath(new URL('./engine/child.js', import.meta.url)), [JSON.stringify(options)])
  children.push(child)
  return new Promise((resolve, reject) => {
    child.once('message', message => {
      const heard = greeting.safeParse(message)
      if (heard.success && 'url' in heard.data) resolve(heard.data)
      else
        reject(
          new Error(`an engine did not start: ${heard.success ? JSON.stringify(heard.data) : 'no greeting'}`),
        )
    })
    child.once('exit', code => reject(new Error(`an engine ended at its start with code ${code}`)))
    child.once('error', reject)
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise(resolve => child.once('exit', resolve))
  if (child.connected) child.disconnect()
  else child.kill('SIGKILL')
  await gone
}

async function resetCache(url: string): Promise<void> {
  for (let tries = 0; tries < RESET_TRIES; tries++) {
    const answer = await request(`${url}/reset_prefix_cache`, { method: 'POST' })
    const { success } = z.object({ success: z.boolean() }).parse(await answer.body.json())
    if (success) return
    await new Promise(resolve => setTimeout(resolve, RESET_PAUSE_MS))
  }
  throw new Error(`the engine at ${url} still holds blocks for a request`)
}
