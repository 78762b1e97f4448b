import { readFileSync } from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { Gauge, Registry } from 'prom-client'
import { DIALECTS, type Use } from '#phyllo/data/scrape/dialects.js'
import { ALL_NEEDLES, type Needle } from '#phyllo/data/scrape/needles.js'
import { type Page, PageReader } from '#phyllo/data/scrape/page.js'
import { readingOf } from '#phyllo/data/scrape/reading.js'
import { dialectOf, naiveCores, sorted } from './naive.js'

const recorded = (name: string): string =>
  readFileSync(new URL(`../../../../test/fixtures/captures/metrics/${name}.txt`, import.meta.url), 'utf8')

/** Reads a page that comes in pieces of these sizes (again and again), each in the same buffer, as from a socket. */
function read(
  page: string | Buffer,
  sizes: readonly number[] = [],
  needles: readonly Needle[] = ALL_NEEDLES,
) {
  const bytes = Buffer.from(page)
  const reader = new PageReader()
  reader.begin(needles)
  const shared = Buffer.alloc(bytes.length + 16)
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes.length === 0 ? bytes.length : (sizes[i % sizes.length] ?? 1))
    const piece = bytes.subarray(at, at + size)
    // What was read before stays behind the piece, and must not be taken for a part of it.
    piece.copy(shared, 8)
    reader.push(shared, 8, 8 + piece.length)
    at += size
  }
  return reader.finish()
}

/** The page with another number behind each series that begins so. */
const withNumber = (page: string, start: string, number: string): string =>
  page.replaceAll(new RegExp(`^(${start}(?:\\{[^}]*\\})?) .*$`, 'gm'), `$1 ${number}`)

const reading = (page: string, rank?: number) => {
  const found = read(page)
  return found === undefined ? undefined : readingOf(found, rank)
}

test('vLLM 0.32: loads, block size and blocks', t => {
  let page = recorded('vllm-0.32.0-nixl')
  t.deepEqual(reading(page), { engine: 'vllm', running: 0, waiting: 0, kvUse: 0, blockSize: 32, blocks: 256 })
  page = withNumber(page, 'vllm:num_requests_running', '7.0')
  page = withNumber(page, 'vllm:num_requests_waiting', '3.0')
  page = withNumber(page, 'vllm:num_requests_waiting_by_reason', '99.0')
  page = withNumber(page, 'vllm:kv_cache_usage_perc', '0.8125')
  const busy = { engine: 'vllm', running: 7, waiting: 3, kvUse: 0.8125, blockSize: 32, blocks: 256 }
  t.deepEqual(reading(page), busy)
  t.deepEqual(reading(page.replaceAll('vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc')), busy)
})

test('vLLM 0.22: blocks without the size in tokens', t => {
  t.like(reading(recorded('vllm-0.22.1')), { engine: 'vllm', running: 0, blockSize: 16, blocks: 48 })
})

test('vLLM with two data-parallel ranks: each rank its own series, the sum of blocks is not one rank’s', t => {
  let page = recorded('vllm-0.32.0-dp2')
  page = withNumber(page, 'vllm:num_requests_running', '5.0')
  page = page.replace(/(vllm:num_requests_waiting\{engine="1".*) .*/, '$1 2.0')
  page = page.replace(/(vllm:kv_cache_usage_perc\{engine="0".*) .*/, '$1 0.95')
  t.like(reading(page, 0), { running: 5, waiting: 0, kvUse: 0.95, blocks: 32 })
  t.like(reading(page, 1), { running: 5, waiting: 2, kvUse: 0, blocks: 32 })
  t.like(reading(page), { running: 10, waiting: 2, kvUse: 0.95, blocks: 64 })
  t.is(reading(page, 2), undefined)
  const older = page.replaceAll(/kv_cache_size_tokens="\d+",/g, '')
  t.like(reading(older, 1), { blocks: 32 })
  t.like(reading(older), { blocks: 64 })
})

test('vLLM: of several KV groups, the block size of full attention', t => {
  const page = recorded('vllm-0.32.0-nixl').replace(
    'effective_attention_block_size="32"',
    'effective_attention_block_size="2096"',
  )
  t.like(reading(page), { blockSize: 2096 })
})

test('SGLang: gauges of the cache, or labels as before 0.5.11', t => {
  let page = recorded('sglang-0.5.23')
  page = withNumber(page, 'sglang:num_running_reqs', '4.0')
  page = withNumber(page, 'sglang:num_queue_reqs', '1.0')
  const expected = { engine: 'sglang', running: 4, waiting: 1, kvUse: 0.02, blockSize: 16, blocks: 128 }
  t.deepEqual(reading(page), expected)
  const older = page
    .split('\n')
    .filter(line => !/sglang:(page_size|num_pages)/.test(line))
    .concat('sglang:cache_config_info{num_pages="128",page_size="16"} 1.0')
    .join('\n')
  t.deepEqual(reading(older), expected)
})

test('SGLang: tensor-parallel ranks report the same requests, data-parallel ones their own', t => {
  const page = [0, 1].flatMap(dp =>
    [0, 1].map(tp => `sglang:num_running_reqs{dp_rank="${dp}",tp_rank="${tp}"} ${3 + dp}.0`),
  )
  t.like(reading(page.join('\n')), { running: 7 })
  t.like(reading(page.join('\n'), 1), { running: 4 })
})

test('trtllm-serve', t => {
  const page = `# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{engine_type="trtllm",model_name="m"} 0.62
trtllm_num_requests_running{engine_type="trtllm",model_name="m"} 12.0
trtllm_num_requests_waiting{engine_type="trtllm",model_name="m"} 4.0
trtllm_kv_cache_max_blocks{engine_type="trtllm",model_name="m"} 11147.0
trtllm_kv_cache_tokens_per_block{engine_type="trtllm",model_name="m"} 64.0
`
  const expected = {
    engine: 'trtllm-serve',
    running: 12,
    waiting: 4,
    kvUse: 0.62,
    blockSize: 64,
    blocks: 11147,
  }
  t.deepEqual(reading(page), expected)
  t.is(reading(page, 0), undefined)
})

test('Triton: series told apart by a label, and the use from blocks where no fraction is given', t => {
  const request = (type: string, value: number) =>
    `nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="${type}",version="1"} ${value}`
  const block = (type: string, value: number) =>
    `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="${type}",model="tensorrt_llm",version="1"} ${value}`
  // As in the README of the TensorRT-LLM backend, with other numbers.
  const page = [
    ...[request('context', 1), request('scheduled', 6), request('max', 512), request('active', 9)],
    ...[block('tokens_per', 64), block('used', 1560), block('free', 4680), block('max', 6240)],
  ]
  const expected = {
    engine: 'triton-tensorrt-llm',
    running: 6,
    waiting: 0,
    kvUse: 0.25,
    blockSize: 64,
    blocks: 6240,
  }
  t.deepEqual(reading(page.join('\n')), expected)
  const newer = [request('waiting', 5), ...page, block('fraction', 0.5)]
  t.deepEqual(reading(newer.join('\n')), { ...expected, waiting: 5, kvUse: 0.5 })
})

test('llama.cpp: no cache of blocks, and no use of it in later versions', t => {
  const page = withNumber(recorded('llama.cpp'), 'llamacpp:requests_deferred', '2')
  t.deepEqual(reading(page), {
    engine: 'llama.cpp',
    running: 0,
    waiting: 2,
    kvUse: 0,
    blockSize: 0,
    blocks: 0,
  })
  t.like(reading(`${page}llamacpp:kv_cache_usage_ratio 0.63\n`), { kvUse: 0.63 })
})

test('pages of no engine are none', t => {
  for (const page of ['', '\n\n', '[{"gpuMemUsage":1}]', 'process_cpu_seconds_total 4.2\n', '\0\xff'])
    t.is(read(page), undefined, page)
  // Without the requests it runs there is nothing to go by.
  t.is(read('vllm:num_requests_waiting 3\n'), undefined)
  t.is(read('# vllm:num_requests_running 3\nother{x="vllm:num_requests_running 3"} 1\n'), undefined)
  t.is(read('vllm:num_requests_running_total 3\nmy_vllm:num_requests_running 4\n'), undefined)
})

test('numbers that make no sense say nothing', t => {
  const page = (number: string) =>
    `vllm:num_requests_running{engine="0"} ${number}\nvllm:num_requests_running{engine="1"} 2`
  for (const bad of ['NaN', '+Inf', '-Inf', '-1', '1e300', '2147483648', '0x10', '1_0', '', '3,5'])
    t.is(reading(page(bad))?.running, 2, bad)
  t.like(reading('vllm:num_requests_running 1\nvllm:kv_cache_usage_perc 1.7'), { kvUse: 1 })
  for (const size of ['0', '-16', '16.5', '65537', 'None', '1e400'])
    t.like(
      reading(
        `vllm:num_requests_running 1\nvllm:cache_config_info{block_size="${size}",num_gpu_blocks="9"} 1`,
      ),
      { blockSize: 0, blocks: 9 },
      size,
    )
})

test('a series that stands twice counts once', t => {
  const line = 'vllm:num_requests_running{engine="0"} 4\n'
  t.is(reading(line + line)?.running, 4)
})

test('a line of 100 KB is passed over, the others are read', t => {
  const long = `other{x="${'a'.repeat(100_000)}"} 1\n`
  const page = `${long}vllm:num_requests_running{x="${'b'.repeat(100_000)}"} 3\nvllm:num_requests_running 2\n${long}`
  t.is(read(page, [1000])?.cores[0]?.values[0], 2)
})

// Pages at random

const blanks = fc.constantFrom('', ' ', '\t', '  ')
const gap = fc.constantFrom(' ', '  ', '\t')
/** As it stands on the page: quotes, backslashes and newlines are escaped. */
const rawValue = fc
  .string({
    unit: fc.constantFrom(
      'a',
      '0',
      '"',
      '\\',
      '\n',
      '{',
      '}',
      ',',
      '=',
      ' ',
      '#',
      'é',
      'vllm:num_requests_running',
    ),
    maxLength: 6,
  })
  .map(text => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n'))
const number = fc.oneof(
  fc.nat(300).map(String),
  fc.nat(300).map(n => `${n}.0`),
  fc.double({ min: 0, max: 1, noNaN: true }).map(String),
  fc.double().map(n => (Number.isFinite(n) ? String(n) : n > 0 ? '+Inf' : n < 0 ? '-Inf' : 'NaN')),
  fc.constantFrom('-3', '1e3', '+7', '.5', '12.', 'x', '1e-400', '123456789012345678', '0.1234567890123456'),
)
const oddLabel = fc.tuple(fc.constantFrom('a', 'model_name', 'block_size_', 'engine_', 'le'), rawValue)

/** One sample line of a metric. */
const seriesOf = (name: string, labels: readonly (readonly [string, string])[]) =>
  fc
    .record({
      odd: fc.array(oddLabel, { maxLength: 2 }),
      first: fc.boolean(),
      blank: fc.array(blanks, { minLength: 6, maxLength: 6 }),
      gap,
      number,
      trailing: fc.boolean(),
      after: fc.constantFrom('', ' 1700000000000', ' # {trace_id="a b"} 0.5 1.5', '\t', ' 17 # {} 3'),
    })
    .map(({ odd, first, blank, gap: between, number: value, trailing, after }) => {
      const [b0 = '', b1 = '', b2 = '', b3 = '', b4 = '', b5 = ''] = blank
      const own = new Map([...odd.filter(([label]) => !labels.some(([each]) => each === label))])
      const all = first ? [...labels, ...own] : [...own, ...labels]
      const text = all.map(([label, v]) => `${b1}${label}${b2}=${b3}"${v}"${b4}`).join(',')
      const braces = all.length === 0 ? '' : `{${text}${trailing ? ',' : ''}${b5}}`
      return `${b0}${name}${braces}${between}${value}${after}`
    })

const remark = fc.constantFrom('', '# note', '#', '  ', '# vllm:num_requests_running 77')

/** A metric with its series, which stand together but for remarks. */
function familyOf(engine: string, uses: readonly Use[]) {
  const { metric } = uses[0] ?? { metric: '' }
  const { core } = dialectOf(engine)
  const labels = fc.record({
    core: fc.option(fc.constantFrom('0', '1', '17', 'x\\"y'), { nil: undefined }),
    where: fc.constantFrom(...uses.map(({ where }) => where ?? (['request_type', 'other'] as const))),
    sources: fc.tuple(
      ...uses
        .flatMap(use => use.labels ?? [])
        .map(label => fc.tuple(fc.constant(label), fc.constantFrom('16', '32', 'None', '768', ''))),
    ),
  })
  const series = labels.chain(({ core: label, where, sources }) =>
    seriesOf(metric, [...(label === undefined ? [] : [[core, label] as const]), where, ...sources]),
  )
  return fc
    .record({
      help: fc.constantFrom(`# HELP ${metric} About ${metric} 5.`, '', `#  HELP   ${metric}`),
      type: fc.constantFrom(`# TYPE ${metric} gauge`, ''),
      lines: fc.array(fc.tuple(series, fc.option(remark, { nil: undefined, freq: 8 })), { maxLength: 4 }),
    })
    .map(({ help, type, lines }) => [
      ...[help, type].filter(line => line !== ''),
      ...lines.flatMap(([line, after]) => (after === undefined ? [line] : [line, after])),
    ])
}

const otherFamily = fc
  .tuple(
    fc.constantFrom(
      'vllm:num_requests_running_total',
      'http_requests_total',
      'sglang:num_running_reqs_offline',
      'x',
    ),
    fc.nat(3),
  )
  .chain(([name, count]) =>
    fc
      .array(seriesOf(name, []), { minLength: count, maxLength: count })
      .map(lines => [`# HELP ${name} .`, ...lines]),
  )

const pageOf = (engine: string) => {
  const { uses } = dialectOf(engine)
  const metrics = [...new Set(uses.map(({ metric }) => metric))]
  const families = metrics.map(metric =>
    familyOf(
      engine,
      uses.filter(use => use.metric === metric),
    ),
  )
  return fc
    .tuple(fc.tuple(...families), fc.array(otherFamily, { maxLength: 3 }))
    .chain(([own, others]) => {
      const all = [...own, ...others]
      return fc.shuffledSubarray(all, { minLength: all.length - 1 })
    })
    .chain(list => fc.constantFrom('\n', '').map(end => list.flat().join('\n') + end))
}

const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 5 })

for (const { engine } of DIALECTS) {
  test(`${engine}: random pages, in random pieces, are read as a plain parser reads them`, t => {
    let told = 0
    fc.assert(
      fc.property(pageOf(engine), sizes, (page, pieces) => {
        const found = read(page, pieces)
        const expected = naiveCores(page, engine)
        const known = expected.some(({ values }) => !Number.isNaN(values[0]))
        if (!known) return t.is(found, undefined)
        told++
        t.is(found?.dialect.engine, engine)
        t.deepEqual(sorted(found?.cores ?? []), expected, page)
        // What was found once is found again when nothing else is looked for.
        t.deepEqual(sorted(read(page, pieces, found?.needles)?.cores ?? []), expected)
      }),
      { numRuns: 300 },
    )
    t.true(told > 50)
  })
}

test('pages as prom-client writes them', async t => {
  const value = fc.string({ unit: 'grapheme', maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(9), value, fc.nat(500)), { minLength: 1, maxLength: 6 }),
      async rows => {
        const registry = new Registry()
        const gauge = new Gauge({
          name: 'vllm:num_requests_running',
          help: 'Requests\nthat "run" \\ vllm:num_requests_running 3',
          labelNames: ['model_name', 'engine'],
          registers: [registry],
        })
        for (const [engine, model, count] of rows)
          gauge.set({ engine: String(engine), model_name: model }, count)
        const page = await registry.metrics()
        t.deepEqual(sorted(read(page)?.cores ?? []), naiveCores(page, 'vllm'), page)
      },
    ),
    { numRuns: 200 },
  )
})

test('bytes at random, and real pages with bytes changed, give a reading in its bounds or none', t => {
  const page = Buffer.from(recorded('vllm-0.32.0-dp2'))
  const inBounds = (found: Page | undefined): void => {
    const all = found === undefined ? undefined : readingOf(found, undefined)
    if (all === undefined) return
    t.true(Number.isFinite(all.running) && all.running >= 0)
    t.true(Number.isFinite(all.waiting) && all.waiting >= 0)
    t.true(all.kvUse >= 0 && all.kvUse <= 1)
    t.true(Number.isInteger(all.blockSize) && all.blockSize >= 0 && all.blockSize <= 65_536)
    t.true(Number.isInteger(all.blocks) && all.blocks >= 0)
  }
  const change = fc.tuple(fc.nat(page.length - 1), fc.nat(255))
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), sizes, (changes, pieces) => {
      const changed = Buffer.from(page)
      for (const [at, byte] of changes) changed[at] = byte
      inBounds(read(changed, pieces))
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), sizes, (bytes, pieces) =>
      inBounds(read(Buffer.from(bytes), pieces)),
    ),
    { numRuns: 300 },
  )
})
