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

test('a model list without an end is given up, and the pod with it', async t => {
  let sent = 0
  const server = createServer((request, res) => {
    if (request.url !== '/v1/models') return res.end()
    const piece = Buffer.alloc(65_536, ' ')
    const more = (): void => {
      while (!res.destroyed && res.write(piece)) sent += piece.length
    }
    res.on('drain', more)
    return more()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const registry = new PodRegistry(state, () => Promise.resolve())
  const slow = { ...options, timeoutMs: 20_000, intervalMs: 60_000 }
  const checker = new HealthChecker(registry, slow, { onChange() {}, onModels() {} })
  t.teardown(() => checker.stop())
  const pod = await registry.add({ url: `http://127.0.0.1:${address.port}` })
  await checker.watch(pod)
  t.false(pod.healthy)
  t.is(pod.reason, '/v1/models is over 2097152 bytes')
  t.true(sent < 64 * 2 ** 20, `${sent} bytes were sent`)
})
