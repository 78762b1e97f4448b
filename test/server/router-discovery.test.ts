/** Discovery, end to end: a router whose list of pods changes while it serves. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { PodSpec } from '#phyllo/data/pod-registry.js'
import { dnsServerFor } from '../data/discovery/dns-server.js'
import { chunked, lastChunk, type PodRequest, streamHead } from '../execution/kit-pods.js'
import {
  chatBody,
  countBy,
  engineFor,
  enginesFor,
  forEachEngine,
  podOf,
  post,
  rawPodFor,
  routerFor,
  type TestRouter,
  until,
} from './router-kit.js'

/** A file of pods, replaced by a rename each time. */
function podFileFor(t: ExecutionContext) {
  const dir = mkdtempSync(joinPath(tmpdir(), 'phyllo-router-discovery-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const path = joinPath(dir, 'pods.json')
  const write = (text: string) => {
    writeFileSync(`${path}.new`, text)
    renameSync(`${path}.new`, path)
  }
  return { path, write, list: (pods: readonly PodSpec[]) => write(JSON.stringify(pods)) }
}

const idsOf = async (router: TestRouter) => (await router.pods()).map(({ id }) => id).sort()
const becomes = (router: TestRouter, ids: readonly string[]) =>
  until(async () => (await idsOf(router)).join() === ids.join(), `the pods are ${ids.join()}`)

/** Sends chats, four at a time, until it is told to stop; gives the pods that served them. */
function load(router: TestRouter) {
  const served: string[] = []
  let stopped = false
  const loop = async () => {
    while (!stopped) served.push(await podOf(router))
  }
  const loops = Promise.all([loop(), loop(), loop(), loop()])
  return {
    served,
    stop: async () => {
      stopped = true
      await loops
      return countBy(served)
    },
  }
}

forEachEngine(engine => {
  test.serial(`${engine}: the file's list changes while requests run, and none of them fails`, async t => {
    const { pods } = await enginesFor(t, 4)
    const [a, b, c, d] = pods
    if (a === undefined || b === undefined || c === undefined || d === undefined) return t.fail()
    const file = podFileFor(t)
    file.list([a])
    const router = await routerFor(t, engine, {
      pods: [d],
      discovery: { file: { path: file.path, intervalMs: 50 } },
      defaults: { profile: 'round-robin' },
    })
    t.deepEqual(await idsOf(router), ['a', 'd'], 'found before the router serves')
    const running = load(router)
    const isServing = (id: string) => until(() => running.served.slice(-20).includes(id), `${id} serves`)

    file.list([a, b])
    await becomes(router, ['a', 'b', 'd'])
    await isServing('b')
    file.write('[{"url": ')
    file.list([b, c])
    await becomes(router, ['b', 'c', 'd'])
    await isServing('c')
    const before = running.served.length
    await until(() => running.served.length > before + 20, 'requests run')
    t.false(running.served.slice(-10).includes('a'))

    // Another engine under the same id; and what is configured or added by hand is not the file's to take away.
    const other = await engineFor(t)
    await router.admin('POST', '/pods', { url: a.url, id: 'by-hand' })
    file.list([{ ...b, url: other.url }])
    await becomes(router, ['b', 'by-hand', 'd'])
    await until(async () => (await router.pod('b'))['url'] === other.url, 'b is the other engine')
    file.list([])
    await becomes(router, ['by-hand', 'd'])
    const metrics = async () => (await router.admin('GET', '/metrics')).text()
    const line = (name: string, value: string) =>
      `phyllo_discovery_${name}{source="file ${file.path}"} ${value}\n`
    await until(async () => {
      const page = await metrics()
      return page.includes(line('pods', '0')) && page.includes(line('ok', '1'))
    }, 'the metrics page says that the file is well and lists nobody')
    file.write('')
    rmSync(file.path)
    await until(async () => (await metrics()).includes(line('ok', '0')), 'the fault is on the metrics page')
    t.regex(await metrics(), /phyllo_discovery_failures_total\{source="file [^"]+"\} [1-9]/)
    await isServing('by-hand')
    t.deepEqual(await idsOf(router), ['by-hand', 'd'])
    const counts = await running.stop()
    t.deepEqual(Object.keys(counts).sort(), ['a', 'b', 'by-hand', 'c', 'd'])
  })

  test.serial(`${engine}: a stream on a pod that leaves the list finishes`, async t => {
    const streams: PodRequest[] = []
    const old = await rawPodFor(t, request => {
      streams.push(request)
      request.socket.write(streamHead + chunked('data: {"choices":[]}\n\n'))
    })
    const next = await engineFor(t)
    const file = podFileFor(t)
    file.list([{ id: 'old', url: old.origin }])
    const router = await routerFor(t, engine, {
      discovery: { file: { path: file.path, intervalMs: 50 } },
    })
    const stream = await post(router, chatBody({ stream: true }))
    t.is(stream.headers.get('x-phyllo-pod'), 'old')
    file.list([{ id: 'new', url: next.url }])
    await becomes(router, ['new'])
    t.is(await podOf(router), 'new')
    streams[0]?.socket.write(Buffer.concat([chunked('data: [DONE]\n\n'), Buffer.from(lastChunk)]))
    t.regex(await stream.text(), /data: \[DONE\]\n\n$/)
  })
})

test.serial('cordoned in the file: until the file says otherwise, whatever else changes there', async t => {
  const { pods } = await enginesFor(t, 2)
  const [a, b] = pods
  if (a === undefined || b === undefined) return t.fail()
  const file = podFileFor(t)
  file.list([{ ...a, cordoned: true }, b])
  const router = await routerFor(t, 'node', { discovery: { file: { path: file.path, intervalMs: 50 } } })
  const cordoned = async () => Object.fromEntries((await router.pods()).map(pod => [pod.id, pod.cordoned]))
  t.deepEqual(await cordoned(), { a: true, b: false })
  // Settled once the limit of b, which changes with each version of the list, has been taken over.
  let limit = 100
  const relist = async (listed: readonly PodSpec[]) => {
    limit += 1
    file.list(listed.map(pod => ({ ...pod, maxInflight: limit })))
    await until(async () => {
      const answer: unknown = await (await router.admin('GET', '/pods/b')).json()
      return JSON.stringify(answer).includes(`"maxInflight":${limit}`)
    }, 'the list is taken over')
  }
  await router.admin('POST', '/pods/b/cordon')
  await relist([{ ...a, cordoned: true }, b])
  t.deepEqual(await cordoned(), { a: true, b: true }, "an operator's cordon holds")
  await relist([a, { ...b, cordoned: true }])
  t.deepEqual(await cordoned(), { a: false, b: true })
  await router.admin('POST', '/pods/b/uncordon')
  await relist([a, { ...b, cordoned: true }])
  t.deepEqual(await cordoned(), { a: false, b: false }, "so does an operator's uncordon")
})

test.serial('SRV records are pods, and one that an operator deletes stays away', async t => {
  const engines = await Promise.all([engineFor(t), engineFor(t)])
  const ports = engines.map(({ url }) => Number(new URL(url).port))
  const ids = ports.map(port => `localhost:${port}`).sort()
  const [first = '', second = ''] = ids
  const dns = await dnsServerFor(t)
  const tell = (listed: readonly number[]) => {
    dns.behaviour = {
      kind: 'records',
      records: listed.map(port => ({ type: 'SRV', target: 'localhost', port, ttl: 60 })),
    }
  }
  tell(ports)
  const router = await routerFor(t, 'node', {
    discovery: {
      dns: [{ name: '_http._tcp.engines.test', type: 'SRV', intervalMs: 100, servers: [dns.address] }],
    },
    defaults: { profile: 'round-robin' },
  })
  t.deepEqual(await idsOf(router), ids)
  t.deepEqual([await podOf(router), await podOf(router)].sort(), ids)
  await router.admin('DELETE', `/pods/${first}`)
  const asked = dns.questions.length
  await until(() => dns.questions.length > asked + 2, 'it was asked again')
  t.deepEqual(await idsOf(router), [second])
  dns.behaviour = { kind: 'servfail' }
  const failed = dns.questions.length
  await until(() => dns.questions.length > failed + 6, 'it has failed')
  t.is(await podOf(router), second)
  tell(ports.filter(port => second === `localhost:${port}`))
  const without = dns.questions.length
  await until(() => dns.questions.length > without + 2, 'it was asked again')
  tell(ports)
  await becomes(router, ids)
})
