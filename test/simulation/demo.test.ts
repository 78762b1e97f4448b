/** The demo from end to end: engines in processes of their own, the real router, the table, the serving. */
import test from 'ava'
import { runDemo } from '#phyllo/simulation/demo.js'
import { at, until } from './kit.js'

test.serial('once: both profiles without a failure, and cache-aware hits more', async t => {
  let text = ''
  const summaries = await runDemo({ once: true, speed: 50, conversations: 6, write: part => (text += part) })
  t.deepEqual(
    summaries.map(({ profile, failed }) => [profile, failed]),
    [
      ['round-robin', 0],
      ['cache-aware', 0],
    ],
  )
  const [roundRobin, cacheAware] = summaries
  t.true((cacheAware?.hitRate ?? 0) > (roundRobin?.hitRate ?? 1) + 0.05, text)
  for (const { perPod, requests } of summaries)
    t.is(
      perPod.reduce((sum, n) => sum + n, 0),
      requests,
    )
  t.regex(text, /KV cache: 4 engines × 2,082 blocks/)
  t.regex(text, /│ round-robin .*\n.*\n│ cache-aware /)
})

test.serial('without once it serves on until told to end, and the printed curl line works', async t => {
  const ended = new AbortController()
  let text = ''
  const running = runDemo({
    speed: 200,
    conversations: 1,
    signal: ended.signal,
    write(part) {
      text += part
    },
  })
  let isOver = false
  const over = running.finally(() => {
    isOver = true
  })
  await until(() => isOver || text.includes('curl'))
  // A demo that failed before it served: that is the news.
  if (isOver) await over
  const [, url = '', body = ''] = /curl -i (\S+) .*-d '(.*)'/.exec(text) ?? []
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  t.is(answer.status, 200)
  t.regex(answer.headers.get('x-phyllo-pod') ?? '', /^pod-[1-4]$/)
  t.is(at(await answer.json(), 'object'), 'chat.completion')
  ended.abort()
  await over
  await t.throwsAsync(fetch(url, { method: 'POST', body }))
})

test.serial(
  'a demo whose requests fail says so instead of printing a table of nothing as success',
  async t => {
    const nowhere = { url: 'http://127.0.0.1:9', adminUrl: '', close: async () => undefined }
    const options = { once: true, conversations: 1, write: () => undefined, startRouter: async () => nowhere }
    await t.throwsAsync(runDemo(options), { message: /requests failed with round-robin, the first: / })
  },
)
