/** Long prompts wait for the thread pool up to a bound; beyond it they are refused at once, and nothing is lost. */
import { execFileSync } from 'node:child_process'
import { constants, mkdtempSync, openSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  chatBody,
  fault,
  forEachEngine,
  joinEngines,
  modelDir,
  post,
  routerFor,
  until,
  user,
} from './router-kit.js'

/** Threads of libuv's pool. */
const POOL = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4)

/** Occupies the whole thread pool: a FIFO opened for reading holds its thread until somebody opens it for writing. */
function blockPool(t: ExecutionContext): () => Promise<void> {
  const dir = mkdtempSync(joinPath(tmpdir(), 'phyllo-fifo-'))
  const paths = Array.from({ length: POOL }, (_, i) => joinPath(dir, String(i)))
  execFileSync('mkfifo', paths)
  const readers = paths.map(path => open(path, 'r'))
  let freed: Promise<void> | undefined
  const free = async () => {
    for (const path of paths) openSync(path, constants.O_RDWR)
    for (const reader of readers) await (await reader).close()
    await rm(dir, { recursive: true })
  }
  const once = () => {
    freed ??= free()
    return freed
  }
  t.teardown(once)
  return once
}

const long = (i: number): string => chatBody({ messages: [user(`${i} ${'a long prompt '.repeat(300)}`)] })

forEachEngine(engine => {
  test.serial(`${engine}: a prompt beyond the bound is 503 at once, those before it are served`, async t => {
    const body = long(0)
    const router = await routerFor(t, engine, {
      models: [{ name: 'tiny', dir: modelDir }],
      limits: { asyncPrepareBytes: 1024, queuedPrepareBytes: 2 * body.length },
    })
    await joinEngines(t, router, 1)
    const queued = async () => {
      const page = await (await router.admin('GET', '/metrics')).text()
      return Number(/^phyllo_prepare_queued_bytes (\d+)$/m.exec(page)?.[1] ?? Number.NaN)
    }
    t.is(await queued(), 0)
    const free = blockPool(t)
    const waiting = [post(router, long(1)), post(router, long(2))]
    await until(async () => (await queued()) === 2 * body.length, 'two prompts wait')
    const refused = await fault(await post(router, long(3)))
    t.deepEqual([refused.status, refused.code], [503, 'overloaded'])
    t.is(refused.headers.get('retry-after'), '1')
    t.regex(refused.message, /queuedPrepareBytes/)
    // A short one has no need of the pool.
    t.is((await post(router, chatBody())).status, 200)
    await free()
    for (const answer of await Promise.all(waiting)) t.is(answer.status, 200)
    await until(async () => (await queued()) === 0, 'nothing waits any more')
    t.is((await post(router, long(4))).status, 200)
    // Counted before the worker answered the requests that came after.
    const page = await (await router.admin('GET', '/metrics')).text()
    t.regex(page, /^phyllo_errors_total\{code="overloaded"\} 1$/m)
  })
})
