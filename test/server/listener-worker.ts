/** A worker thread that listens on a shared port: for listener-lifecycle.test.ts. */
import { parentPort, threadId, workerData } from 'node:worker_threads'
import { chooseListener } from '#phyllo/server/listener/choose.js'

const { engine, port } = workerData
const { factory } = await chooseListener(engine)
const listener = factory.create(
  { host: '127.0.0.1', port, shared: true, maxHeaderBytes: 16 * 1024 },
  exchange => {
    exchange.begin(200, [])
    exchange.end(String(threadId))
  },
)
parentPort?.on('message', () => {
  void listener.close().then(() => parentPort?.close())
})
parentPort?.postMessage(await listener.listen().catch(String))
