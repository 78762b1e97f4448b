/**
 * The event thread: it owns all sockets on which engines publish their KV events, and passes what comes, undecoded, to
 * the native side. It shares nothing with other threads but the native state and its counters.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { CacheAges } from '../cache-ages.js'
import { loadNative } from '../native.js'
import { OpenSockets } from './before-exit.js'
import { cacheStatus } from './cache-status.js'
import { Receiver } from './receiver.js'
import type { EventSource, FromThread, ThreadBirth, ToThread } from './source.js'
import { allUnwatched } from './watch.js'

const birth: ThreadBirth = workerData
const addon = loadNative()
const state = addon.SharedState.open(birth.stateName)
const say = (message: FromThread): void => parentPort?.postMessage(message)

const sockets = new OpenSockets(birth.sockets)
sockets.opened()
const ages = new CacheAges(birth.ages)
const receiver = new Receiver({
  openFeed: ({ ref, model, replay, firstSequence }: EventSource) =>
    new addon.EventFeed(state, ref, { model, replay: replay !== undefined, firstSequence }),
  isExact: ref => cacheStatus(state, ref)?.mode === 'exact',
  heard: ref => ages.heard(ref),
  say,
  bind: birth.bind,
  counts: birth.counts,
})

const end = (): void => {
  receiver.close()
  void allUnwatched().then(() => sockets.closed())
  // Nothing else holds the thread then: it ends by itself.
  parentPort?.close()
}

/**
 * What nobody caught ends the thread, whose successor starts clean. But first its sockets are closed: zeromq.js closes
 * those of a dead thread from outside of it, which aborts the process.
 */
const die = (error: unknown): void => {
  say({ type: 'died', error: error instanceof Error ? error : new Error(String(error)) })
  end()
}
process.on('uncaughtException', die)
process.on('unhandledRejection', die)

parentPort?.on('message', (message: ToThread) => {
  if (message.type === 'stop') end()
  else receiver.receive(message)
})
