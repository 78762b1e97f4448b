/**
 * The event thread: it owns all sockets on which engines publish their KV events, and passes what comes, undecoded, to
 * the native side. It shares nothing with other threads but the native state and its counters.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { loadNative } from '../native.js'
import { Receiver } from './receiver.js'
import type { EventSource, FromThread, ThreadBirth, ToThread } from './source.js'

const birth: ThreadBirth = workerData
const addon = loadNative()
const state = addon.SharedState.open(birth.stateName)

const receiver = new Receiver({
  openFeed: ({ ref, model, replay, firstSequence }: EventSource) =>
    new addon.EventFeed(state, ref, { model, replay: replay !== undefined, firstSequence }),
  say: (message: FromThread) => parentPort?.postMessage(message),
  bind: birth.bind,
  counts: birth.counts,
})
parentPort?.on('message', (message: ToThread) => {
  receiver.receive(message)
  // Nothing else holds the thread then: it ends by itself.
  if (message.type === 'stop') parentPort?.close()
})
