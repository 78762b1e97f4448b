/** Pods from a file, through everything that happens to files: renames, symlink swaps, halves, garbage, no file. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { FileSource } from '#phyllo/data/discovery/file.js'
import { NO_KV_EVENTS } from '#phyllo/data/pod-events.js'
import { until } from '../../server/router-kit.js'

function directoryFor(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'phyllo-discovery-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  return dir
}

/** What a source has told: names of the pods last found, and the failures since the beginning. */
interface Told {
  /** Looks that have ended. */
  looks: number
  names: readonly string[] | undefined
  readonly lists: string[]
  readonly failures: string[]
}

function watch(t: ExecutionContext, path: string, settle?: () => Promise<unknown>) {
  const told: Told = { looks: 0, names: undefined, lists: [], failures: [] }
  const source = new FileSource({ path, intervalMs: 2 }, NO_KV_EVENTS, settle ?? (() => Promise.resolve()))
  t.teardown(() => source.stop())
  const started = source.start({
    found: pods => {
      told.looks += 1
      told.names = pods.map(({ id }) => id ?? '')
      if (told.lists.at(-1) !== told.names.join()) told.lists.push(told.names.join())
    },
    failed: why => {
      told.looks += 1
      if (told.failures.at(-1) !== why) told.failures.push(why)
    },
  })
  return { told, started }
}

const yamlOf = (names: readonly string[]): string =>
  names.length === 0 ? '[]\n' : names.map(name => `- { id: ${name}, url: "http://${name}:1" }\n`).join('')
const jsonOf = (names: readonly string[]): string =>
  JSON.stringify({ pods: names.map(id => ({ id, url: `http://${id}:1` })) })

/** A file's content, and the list that it stands for; undefined: none, the one before it holds. */
const content = fc
  .subarray(['a', 'b', 'c', 'd', 'e'])
  .chain(names =>
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom({ text: yamlOf(names), names }, { text: jsonOf(names), names }),
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          '',
          '# nothing yet\n',
          'pods:\n',
          '{"pods": [{"url": "http://a:1"',
          '- url: http://a:1\n  idd: x\n',
          '- url: nonsense\n',
          '- url: http://a:1\n- url: http://a:1\n',
          '- { url: "http://a:1", dataParallel: 3, kvEvents: "tcp://a:65534" }\n',
          'a: [&a *a]\n',
          '\u0000\u0001',
          'models: []\n',
          '7\n',
        ),
      },
    ),
  )
  .map(made => (typeof made === 'string' ? { text: made, names: undefined } : made))

const how = fc.constantFrom('rename' as const, 'in place' as const, 'delete first' as const)

test('after any sequence of writes the last good list holds, however it was written', async t => {
  const dir = directoryFor(t)
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(content, how), { minLength: 1, maxLength: 8 }), async writes => {
      const path = join(dir, `pods-${++runs}.yaml`)
      const { told, started } = watch(t, path)
      await started
      t.regex(told.failures.join(), /cannot be read: no such file$/)
      let expected: readonly string[] | undefined
      for (const [{ text, names }, manner] of writes) {
        if (manner === 'rename') {
          writeFileSync(`${path}.new`, text)
          renameSync(`${path}.new`, path)
        } else {
          if (manner === 'delete first') rmSync(path, { force: true })
          writeFileSync(path, text)
        }
        expected = names ?? expected
        // The look that is under way may have read what was there before.
        const before = told.looks
        await until(() => told.looks >= before + 2, 'it has looked')
        t.deepEqual(told.names, expected)
      }
    }),
    { numRuns: 60 },
  )
})

test('a list that is written in pieces is never seen by half', async t => {
  const path = join(directoryFor(t), 'pods.yaml')
  writeFileSync(path, yamlOf(['old']))
  const whole = yamlOf(['a', 'b', 'c', 'd'])
  // Each piece is a good list of its own.
  const pieces = [yamlOf(['a']), yamlOf(['a', 'b']), yamlOf(['a', 'b', 'c']), whole]
  let writing = false
  // The writer is faster than the moment that the source waits: a piece a wait.
  const settle = async () => {
    const piece = writing ? pieces.shift() : undefined
    if (piece !== undefined) writeFileSync(path, piece)
  }
  const { told, started } = watch(t, path, settle)
  await started
  writing = true
  writeFileSync(path, '')
  await until(() => told.names?.join() === 'a,b,c,d', 'the whole list is read')
  t.deepEqual(told.lists, ['old', 'a,b,c,d'])
  t.deepEqual(told.failures, [])
})

test('a file that never rests is given up for this look, and the last good list holds', async t => {
  const path = join(directoryFor(t), 'pods.yaml')
  writeFileSync(path, yamlOf(['a']))
  let writes = 0
  let restless = false
  const { told, started } = watch(t, path, async () => {
    if (restless) writeFileSync(path, yamlOf([`n${++writes}`]))
  })
  await started
  restless = true
  writeFileSync(path, yamlOf(['n']))
  await until(() => told.failures.length > 0, 'it is given up')
  t.regex(told.failures.join(), /it changes all the time$/)
  t.deepEqual(told.names, ['a'])
  restless = false
  await until(() => told.names?.[0] === `n${writes}`, 'it rests')
})

test("Kubernetes' ConfigMap: the symlink to the directory of a version is swapped", async t => {
  const dir = directoryFor(t)
  const version = (n: number, names: readonly string[]) => {
    mkdirSync(join(dir, `..v${n}`))
    writeFileSync(join(dir, `..v${n}`, 'pods.yaml'), yamlOf(names))
    symlinkSync(`..v${n}`, join(dir, '..data_tmp'))
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
    if (n > 1) rmSync(join(dir, `..v${n - 1}`), { recursive: true })
  }
  version(1, ['a'])
  symlinkSync(join('..data', 'pods.yaml'), join(dir, 'pods.yaml'))
  const { told, started } = watch(t, join(dir, 'pods.yaml'))
  await started
  t.deepEqual(told.names, ['a'])
  for (let n = 2; n < 20; n++) {
    version(n, [`a${n}`])
    await until(() => told.names?.[0] === `a${n}`, `version ${n} is read`)
  }
  // A look can fall between the swap and the removal; then it fails, and changes nothing.
  t.is(told.lists.length, 19)
})

test('what is no file, or too much of one, is refused without being read', async t => {
  const dir = directoryFor(t)
  const path = join(dir, 'pods.yaml')
  writeFileSync(path, yamlOf(['a']))
  const { told, started } = watch(t, path)
  await started
  const becomes = async (make: () => void, why: RegExp) => {
    rmSync(path, { recursive: true, force: true })
    make()
    await until(() => why.test(told.failures.at(-1) ?? ''), String(why))
    t.deepEqual(told.names, ['a'])
  }
  await becomes(() => execFileSync('mkfifo', [path]), /it is no file$/)
  await becomes(() => mkdirSync(path), /it is no file$/)
  await becomes(() => writeFileSync(path, Buffer.alloc(4 * 1024 * 1024 + 1)), /larger than 4194304 bytes$/)
  await becomes(
    () => writeFileSync(path, Buffer.from([0x2d, 0xff])),
    /pods\.yaml:1:2 {2}the file is not UTF-8/,
  )
})

test('a fault is told with its line, its field and what to write instead', async t => {
  const path = join(directoryFor(t), 'pods.yaml')
  writeFileSync(path, 'pods:\n  - url: http://a:1\n  - url: foo\n    max_inflight: 3\n')
  const { told, started } = watch(t, path)
  await started
  t.deepEqual(told.failures, [
    `${path}:3:10  pods[1].url  expected an http(s) URL, got "foo" — write http://foo:8000\n` +
      `${path}:4:5  pods[1].max_inflight  unknown key — write maxInflight`,
  ])
  writeFileSync(path, '- url: http://a:1\n- url: http://b:1\n  dataParallel: x\n')
  await until(() => told.failures.length > 1, 'it is read again')
  t.is(told.failures[1], `${path}:3:17  [1].dataParallel  expected a whole number from 1 to 256, got "x"`)
})

test('all that the configuration takes for a pod, anchors and environment variables included', async t => {
  const path = join(directoryFor(t), 'pods.yaml')
  process.env['PHYLLO_TEST_ZONE'] = 'eu'
  writeFileSync(
    path,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
    'x-base: &base { labels: { zone: "${PHYLLO_TEST_ZONE}" }, maxInflight: 7 }\npods:\n' +
      '  - { <<: *base, url: "http://a:1/", kvEvents: "tcp://a:5557", cordoned: true, models: [m], ' +
      'role: prefill, kvTransfer: { connector: mooncake } }\n',
  )
  const source = new FileSource({ path, intervalMs: 1000 }, NO_KV_EVENTS)
  t.teardown(() => source.stop())
  const found: unknown[] = []
  await source.start({ found: pods => found.push(...pods), failed: why => t.fail(why) })
  t.deepEqual(found, [
    {
      url: 'http://a:1',
      id: 'a:1',
      labels: { zone: 'eu' },
      maxInflight: 7,
      dataParallel: 1,
      models: ['m'],
      cordoned: true,
      role: 'prefill',
      kvTransfer: { connector: 'mooncake', bootstrapPort: 8998 },
      kvEvents: { endpoint: 'tcp://a:5557', topic: '', firstSequence: 0 },
    },
  ])
})
