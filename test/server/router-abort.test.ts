/**
 * A client that goes away takes its request along: the pod sees its connection close. How fast is logged, and wanted
 * within 100 ms; the tests themselves, which busy machines run too, only know that it comes before any time-out of the
 * router could have brought it about: the shortest, between two pieces of an answer, is two minutes.
 */
import { type IncomingMessage, request } from 'node:http'
import test, { type ExecutionContext } from 'ava'
import { chunked, type PodRequest, streamHead } from '../execution/kit-pods.js'
import { wire } from './listener-kit.js'
import {
  chatBody,
  engineFor,
  forEachEngine,
  join,
  podOf,
  rawPodFor,
  sharedRouter,
  sleep,
  type TestRouter,
  until,
} from './router-kit.js'

/** A raw pod that answers with `answer`, and a client whose request it has by now. */
async function underWay(
  t: ExecutionContext,
  router: TestRouter,
  answer: (request: PodRequest) => void,
  fields: Record<string, unknown> = {},
  onResponse: (response: IncomingMessage) => void = response => response.resume(),
) {
  const pod = await rawPodFor(t, answer)
  await join(t, router, { a: pod.origin })
  const client = request({ port: router.port, path: '/v1/chat/completions', method: 'POST', agent: false })
  client.on('error', () => undefined)
  client.on('response', onResponse)
  client.end(chatBody(fields))
  await until(() => pod.inference().length === 1, 'the pod has the request')
  const socket = pod.inference()[0]?.socket
  if (socket === undefined) throw new Error('no request')
  return { router, client, socket }
}

type UnderWay = Awaited<ReturnType<typeof underWay>>

/** Takes the client away, and sees how long the pod's connection is still open. */
async function leave(t: ExecutionContext, { router, client, socket }: UnderWay): Promise<void> {
  let ms: number | undefined
  const started = performance.now()
  socket.once('close', () => {
    ms = performance.now() - started
  })
  client.destroy()
  await until(() => ms !== undefined, "the pod's connection is closed")
  t.log(`the pod saw it after ${ms?.toFixed(1)} ms`)
  await until(async () => (await router.pod('a')).inflight === 0, 'its load is given back')
  t.is((await router.pod('a')).breaker, 'closed')
}

const event = chunked('data: {"choices":[]}\n\n')

forEachEngine(engine => {
  // One failure would open a circuit: a client that leaves must not count as one.
  const shared = sharedRouter(engine, { breaker: { failures: 1 } })

  test.serial(`${engine}: a client that leaves before the first byte`, async t => {
    const all = await underWay(t, await shared(), () => undefined)
    await leave(t, all)
  })

  test.serial(`${engine}: a client that leaves after the head, before the first event`, async t => {
    const all = await underWay(t, await shared(), ({ socket }) => socket.write(streamHead), { stream: true })
    await sleep(50)
    await leave(t, all)
  })

  test.serial(`${engine}: a client that leaves in the middle of a stream`, async t => {
    let bytes = 0
    const all = await underWay(
      t,
      await shared(),
      ({ socket }) => {
        const timer = setInterval(() => socket.write(event), 5)
        socket.write(streamHead)
        socket.once('close', () => clearInterval(timer))
      },
      { stream: true },
      response => response.on('data', (chunk: Buffer) => (bytes += chunk.length)),
    )
    await until(() => bytes > 200, 'some events have come')
    await leave(t, all)
  })

  test.serial(`${engine}: a client that has stopped reading, and leaves`, async t => {
    const piece = chunked(`data: ${'x'.repeat(65_536)}\n\n`)
    const all = await underWay(
      t,
      await shared(),
      ({ socket }) => {
        socket.write(streamHead)
        const pump = (): void => {
          while (!socket.destroyed && socket.write(piece));
        }
        socket.on('drain', pump)
        pump()
      },
      { stream: true },
      response => response.pause(),
    )
    const sent = (): number => all.socket.bytesWritten
    // Backpressure has come all the way to the pod when it can write no more.
    let before = -1
    await until(async () => {
      const stands = sent() === before
      before = sent()
      await sleep(100)
      return stands
    }, 'the pod has to wait')
    await leave(t, all)
  })

  test.serial(`${engine}: a client that leaves before its body is whole never reaches a pod`, async t => {
    const pod = await rawPodFor(t, () => t.fail('a pod was asked'))
    const router = await join(t, await shared(), { a: pod.origin })
    const aborts = async (): Promise<number> => {
      const page = await (await router.admin('GET', '/metrics')).text()
      return Number(/\nphyllo_client_aborts_total (\d+)\n/.exec(page)?.[1])
    }
    const before = await aborts()
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 500'
    const client = wire(t, router.port).send(`${head}\r\nexpect: 100-continue\r\n\r\n`)
    // So it is known that the router has heard of the request.
    await client.until(/100 Continue\r\n\r\n/)
    client.send(chatBody()).destroy()
    await until(async () => (await aborts()) === before + 1, 'the abort is counted')
    t.is(pod.inference().length, 0)
  })

  test.serial(
    `${engine}: an aborted request is gone from a real engine, and the next one is served`,
    async t => {
      const slow = await engineFor(t, { speed: 0.5 })
      const router = await join(t, await shared(), { engine: slow.url })
      const abort = new AbortController()
      const asked = fetch(`${router.url}/v1/chat/completions`, {
        method: 'POST',
        body: chatBody({ max_tokens: 2_000, stream: true }),
        signal: abort.signal,
      })
      const answer = await asked
      t.is(answer.status, 200)
      await until(() => slow.stats().running === 1, 'the engine is at it')
      abort.abort()
      await t.throwsAsync(answer.text(), { any: true })
      await until(() => slow.stats().running === 0, 'the engine has dropped it')
      t.is(await podOf(router, { max_tokens: 1 }), 'engine')
      const count = async (outcome: string): Promise<number> => {
        const page = await (await router.admin('GET', '/metrics')).text()
        const series = `phyllo_pod_requests_total\\{pod="engine",outcome="${outcome}"\\}`
        return Number(new RegExp(`^${series} (\\d+)$`, 'm').exec(page)?.[1])
      }
      await until(async () => (await count('cancelled')) === 1, 'it is counted as cancelled')
      await until(async () => (await count('ok')) === 1, 'the next one is counted as well served')
      t.is(await count('failed'), 0)
    },
  )
})
