/** The event thread, which a test can end. */
import { isMainThread, parentPort } from 'node:worker_threads'

export const DIE = 'die'

if (!isMainThread) {
  await import('#phyllo/data/kv-events/thread.js')
  parentPort?.on('message', message => {
    if (message === DIE) throw new Error('told to')
  })
}
