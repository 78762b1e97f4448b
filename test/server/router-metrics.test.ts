/** `GET /metrics`: Prometheus' text format, and figures that agree with what was sent. */
import test from 'ava'
import { answerWith } from '../execution/kit-pods.js'
import { at } from '../simulation/kit.js'
import { ask } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  engineFor,
  forEachEngine,
  join,
  modelDir,
  podOf,
  post,
  rawPodFor,
  routerFor,
  type TestRouter,
  until,
  user,
  workerCounts,
} from './router-kit.js'

interface Family {
  readonly type: string
  /** Value by series, as it stands on the page: name and labels. */
  readonly series: Map<string, number>
}

const sample = /^([a-zA-Z_:][\w:]*)((?:\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/

/** Reads the exposition format strictly: HELP, then TYPE, then the family's samples and no others. */
function parse(page: string): Map<string, Family> {
  const families = new Map<string, Family>()
  let name = ''
  if (!page.endsWith('\n')) throw new Error('the last line is not ended')
  for (const line of page.split('\n')) {
    const [, kind, family = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'HELP') {
      if (families.has(family)) throw new Error(`${family} comes twice`)
      name = family
    } else if (kind === 'TYPE') {
      if (family !== name) throw new Error(`TYPE of ${family} after HELP of ${name}`)
      families.set(name, { type: rest, series: new Map() })
    } else if (line !== '') {
      const [, metric = '', labels = '', value = ''] = sample.exec(line) ?? []
      const suffix = metric.slice(name.length)
      const known = families.get(name)
      const allowed = known?.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      if (!metric.startsWith(name) || !allowed.includes(suffix)) throw new Error(`stray line: ${line}`)
      if (known?.series.has(metric + labels) === true) throw new Error(`twice: ${line}`)
      const number = value === 'Nan' ? Number.NaN : Number(value.replace('+Inf', 'Infinity'))
      known?.series.set(metric + labels, number)
    }
  }
  return families
}

async function scrape(router: TestRouter) {
  const answer = await router.admin('GET', '/metrics')
  if (!/^text\/plain\b/.test(answer.headers.get('content-type') ?? '')) throw new Error('not text')
  const families = parse(await answer.text())
  const all = new Map([...families.values()].flatMap(({ series }) => [...series]))
  /** The value of a series; undefined if it is not there. */
  const value = (series: string) => all.get(series)
  return { families, value }
}

/**
 * The page once a series has a value. Workers count a request when they are done with it, of which
 * its client may hear a moment earlier.
 */
async function scrapeOnce(router: TestRouter, series: string, wanted: number) {
  let page = await scrape(router)
  await until(async () => {
    page = await scrape(router)
    return page.value(series) === wanted
  }, `${series} is ${wanted}`)
  return page
}

forEachEngine(engine => {
  // Several workers where it can be, since their rows have to be summed up.
  const listen = { workers: Math.max(...workerCounts(engine)) }

  test.serial(`${engine}: counters and histograms (once all zeros) agree with what was sent`, async t => {
    const bad = await rawPodFor(t, ({ socket }) => socket.destroy())
    const good = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
    const router = await routerFor(t, engine, {
      listen,
      pods: [{ url: good.origin, id: 'good "quoted"' }],
      defaults: { profile: 'round-robin' },
      breaker: { failures: 1_000 },
    })
    const chat = () => ask(router.port, { path: '/v1/chat/completions', body: chatBody() })
    for (let i = 0; i < 20; i++) t.is((await chat()).status, 200)
    t.is((await ask(router.port, { path: '/v1/chat/completions', body: '{' })).status, 400)
    t.is((await ask(router.port, { path: '/v1/embeddings', body: '{"model":"no","input":"x"}' })).status, 404)
    t.is((await ask(router.port, { path: '/nothing' })).status, 404)
    await join(t, router, { bad: bad.origin })
    for (let i = 0; i < 8; i++) t.is((await chat()).status, 200)
    const failed = bad.inference().length
    t.true(failed > 0)

    await scrapeOnce(router, 'phyllo_requests_total{endpoint="chat",status="400"}', 1)
    await scrapeOnce(router, 'phyllo_requests_total{endpoint="embeddings",status="404"}', 1)
    await scrapeOnce(router, 'phyllo_requests_total{endpoint="other",status="404"}', 1)
    await scrapeOnce(router, 'phyllo_requests_total{endpoint="chat",status="200"}', 28)
    const { families, value } = await scrapeOnce(router, 'phyllo_request_duration_seconds_count', 28)
    t.is(value('phyllo_requests_total{endpoint="chat",status="200"}'), 28)
    t.is(value('phyllo_requests_total{endpoint="chat",status="400"}'), 1)
    t.is(value('phyllo_requests_total{endpoint="embeddings",status="404"}'), 1)
    t.is(value('phyllo_requests_total{endpoint="other",status="404"}'), 1)
    t.is(value('phyllo_errors_total{code="bad_json"}'), 1)
    t.is(value('phyllo_errors_total{code="model_not_found"}'), 1)
    t.is(value('phyllo_errors_total{code="path_not_found"}'), 1)
    t.is(value('phyllo_errors_total{code="pod_closed_early"}'), 0, 'another pod answered')
    t.is(value('phyllo_retries_total'), failed)
    t.is(value('phyllo_pod_requests_total{pod="bad",outcome="failed"}'), failed)
    t.is(value('phyllo_pod_requests_total{pod="bad",outcome="ok"}'), 0)
    t.is(value('phyllo_pod_requests_total{pod="good \\"quoted\\"",outcome="ok"}'), 28)
    t.is(value('phyllo_pod_ready{pod="bad"}'), 1)
    t.is(value('phyllo_pod_inflight{pod="bad"}'), 0)
    t.is(value('phyllo_relayed_bytes_total'), 28 * chatAnswer.length)
    t.is(value('phyllo_prompt_tokens_total'), 0, 'round-robin counts no tokens')
    for (const name of ['request_duration', 'first_byte', 'decision']) {
      const family = families.get(`phyllo_${name}_seconds`)
      t.is(family?.type, 'histogram')
      const buckets = [...(family?.series ?? [])].filter(([series]) => series.includes('_bucket'))
      const counts = buckets.map(([, count]) => count)
      t.deepEqual(
        counts,
        counts.toSorted((a, b) => a - b),
        'buckets are cumulative',
      )
      t.regex(buckets.at(-1)?.[0] ?? '', /le="\+Inf"/)
      t.is(counts.at(-1), 28, name)
      t.is(value(`phyllo_${name}_seconds_count`), 28)
      t.true((value(`phyllo_${name}_seconds_sum`) ?? 0) > 0)
    }
    t.true((value('process_cpu_user_seconds_total') ?? -1) >= 0, "the process's own are there too")
  })

  test.serial(
    `${engine}: prompt tokens are the engine's own count; cached ones what the pod was expected to hold`,
    async t => {
      const pod = await engineFor(t, { modelDir })
      const router = await routerFor(t, engine, {
        listen,
        pods: [{ url: pod.url, id: 'a' }],
        models: [{ name: 'tiny', dir: modelDir }],
        defaults: { profile: 'cache-aware' },
      })
      const body = chatBody({ messages: [user('a leaf on a stem '.repeat(40))], max_tokens: 1 })
      const usage = async () => {
        const answer: unknown = await (await post(router, body)).json()
        const number = (...path: string[]) => Number(at(answer, 'usage', ...path))
        return { prompt: number('prompt_tokens'), cached: number('prompt_tokens_details', 'cached_tokens') }
      }
      const first = await usage()
      t.true(first.prompt > 64)
      const cold = await scrapeOnce(router, 'phyllo_prompt_tokens_total', first.prompt)
      t.is(cold.value('phyllo_prompt_tokens_expected_cached_total'), 0)
      t.true((cold.value('phyllo_pod_predicted_blocks{pod="a"}') ?? 0) > 0)
      t.true((cold.value('phyllo_index_entries') ?? 0) > 0)
      const second = await usage()
      const warm = await scrapeOnce(router, 'phyllo_prompt_tokens_total', 2 * first.prompt)
      t.true(second.cached > 0)
      t.is(warm.value('phyllo_prompt_tokens_expected_cached_total'), second.cached, 'and it held them')
    },
  )

  test.serial(
    `${engine}: a pod in the slot of an earlier one once began with that one's counters`,
    async t => {
      const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
      const first = [{ url: pod.origin, id: 'first' }]
      const router = await routerFor(t, engine, { listen, pods: first, cache: { width: 64 } })
      const served = async (id: string) =>
        (await scrape(router)).value(`phyllo_pod_requests_total{pod="${id}",outcome="ok"}`)
      const counted = (id: string, requests: number) =>
        scrapeOnce(router, `phyllo_pod_requests_total{pod="${id}",outcome="ok"}`, requests)
      for (let i = 0; i < 6; i++) t.is(await podOf(router), 'first')
      await counted('first', 6)
      await router.admin('DELETE', '/pods/first')
      await join(t, router, { second: pod.origin })
      t.is(await served('second'), 0)
      t.is(await served('first'), undefined)
      await podOf(router)
      await counted('second', 1)
      // Another pod that joins leaves the figures of those that are there alone.
      await join(t, router, { third: pod.origin })
      t.is(await served('second'), 1)
    },
  )
})
