import { createServer } from 'node:http'
import test from 'ava'
import { HealthChecker } from '#phyllo/data/health.js'
import { loadNative } from '#phyllo/data/native.js'
import { PodRegistry } from '#phyllo/data/pod-registry.js'
import { STATE_OPTIONS } from './state-options.js'

const options = { intervalMs: 10, timeoutMs: 1000, path: '/health', unhealthyAfter: 1, healthyAfter: 1 }
const state = loadNative().SharedState.open('health-test', { ...STATE_OPTIONS, virtualClock: false })
test.after(() => void loadNative().SharedState.close('health-test'))

test('a pod that was removed while it was being added was checked for ever', async t => {
  let asked = 0
  const server = createServer((_, res) => {
    asked += 1
    res.end('{}')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const url = `http://127.0.0.1:${address.port}`
  const registry = new PodRegistry(state, () => Promise.resolve())
  const checker = new HealthChecker(registry, options, { onChange() {}, onModels() {} })
  t.teardown(() => checker.stop())

  const adding = registry.add({ url, models: ['m'] })
  await registry.remove(url.replace('http://', ''))
  await checker.watch(await adding)
  t.is(asked, 0)

  await checker.watch(await registry.add({ url, models: ['m'] }))
  t.is(asked, 1)
})
