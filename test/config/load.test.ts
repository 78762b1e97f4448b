// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/** Good configurations, and the promise that none can make the loader throw. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { formatIssues, type LoadResult, loadConfig, type Override, parseConfig } from '#phyllo/config/load.js'
import type { RouterOptions } from '#phyllo/server/options.js'

function good(result: LoadResult): RouterOptions {
  if (!result.ok) throw new Error(formatIssues(result.issues))
  return result.config
}
const withFolder = (use: (folder: string) => void): void => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-config-'))
  try {
    use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('environment variables become values of the kind that is wanted', t => {
  const yaml = [
    'listen:',
    '  port: ${PORT}',
    '  host: ${HOST:-::1}',
    'pods:',
    '  - url: http://${NODE}:80${SUFFIX:-00}',
    '    id: "${NUMBER}"',
    '    labels: { price: "$${free}" }',
    'breaker:',
    '  latencyFactor: ${FACTOR}',
    'log: { level: "${EMPTY:-warn}" }',
  ].join('\n')
  const config = good(
    parseConfig(yaml, { env: { PORT: '81', NODE: 'gpu', NUMBER: '7', FACTOR: '2.5', EMPTY: '' } }),
  )
  t.like(config.listen, { port: 81, host: '::1' })
  t.like(config.pods[0], { url: 'http://gpu:8000', id: '7', labels: { price: '${free}' } })
  t.is(config.breaker.latencyFactor, 2.5)
  t.is(config.log.level, 'warn')
})

test('anchors and merge keys: own keys win, then the first merged map', t => {
  const yaml = [
    'x-a: &a { maxInflight: 1, labels: { from: a } }',
    'x-b: &b { maxInflight: 2, labels: { from: b }, id: b }',
    'pods:',
    '  - { url: "http://p:1", <<: *a, maxInflight: 9 }',
    '  - { <<: [*a, *b], url: "http://p:2" }',
    '  - &same { url: "http://p:3" }',
  ].join('\n')
  t.deepEqual(
    good(parseConfig(yaml)).pods.map(({ id, maxInflight, labels }) => [id, maxInflight, labels]),
    [
      ['p:1', 9, { from: 'a' }],
      ['b', 1, { from: 'a' }],
      ['p:3', 0, {}],
    ],
  )
})

test('an alias means the last anchor of its name before it', t => {
  const yaml =
    'x-a: &a http://one:1\npods:\n  - { url: *a, id: &a "two" }\n  - { url: "http://x:1", id: *a }\n'
  const result = parseConfig(yaml)
  t.is(
    result.ok ? '' : formatIssues(result.issues),
    'phyllo.yaml:3:23  pods[1].id  the id two belongs to pods[0] already — give each pod its own id',
  )
})

test('paths start at the folder of the file; a template is read, or is the text itself', t => {
  withFolder(folder => {
    mkdirSync(join(folder, 'qwen'))
    writeFileSync(join(folder, 'qwen/tokenizer.json'), '{}')
    writeFileSync(join(folder, 'own.jinja'), '{{ messages }}')
    writeFileSync(
      join(folder, 'phyllo.yaml'),
      'models:\n  - { name: a, dir: qwen, chatTemplate: own.jinja }\n  - { name: b, chatTemplate: "{% if x %}y{% endif %}" }\n',
    )
    const { models } = good(loadConfig(join(folder, 'phyllo.yaml')))
    t.deepEqual(
      models.map(({ dir, chatTemplate }) => [dir, chatTemplate]),
      [
        [join(folder, 'qwen'), '{{ messages }}'],
        [undefined, '{% if x %}y{% endif %}'],
      ],
    )
  })
})

test('a model directory must hold a tokenizer.json', t => {
  withFolder(folder => {
    mkdirSync(join(folder, 'empty'))
    mkdirSync(join(folder, 'full'))
    writeFileSync(join(folder, 'full/tokenizer.json'), '{}')
    const told = (dir: string): string => {
      const result = parseConfig(stringify({ models: [{ name: 'a', dir }] }), { baseDir: folder, file: 'f' })
      return result.ok ? 'ok' : formatIssues(result.issues).replaceAll(folder, 'FOLDER')
    }
    t.is(told('full'), 'ok')
    t.regex(
      told('empty'),
      /^f:3:10 {2}models\[0\]\.dir {2}"empty" holds no tokenizer\.json \(FOLDER\/empty\) — copy/,
    )
    t.regex(told('full/tokenizer.json'), /is a file — write its directory: full$/)
    t.regex(told('gone'), /does not exist/)
  })
})

test('a file that cannot be read is an issue', t => {
  withFolder(folder => {
    const told = (path: string): string => {
      const result = loadConfig(path, { file: 'f' })
      return result.ok ? 'ok' : formatIssues(result.issues)
    }
    t.is(told(join(folder, 'none.yaml')), 'f  cannot read the configuration: no such file')
    t.is(told(folder), 'f  cannot read the configuration: it is a directory')
  })
  const huge = parseConfig('#'.repeat(5 * 1024 * 1024), { file: 'f' })
  t.is(huge.ok ? '' : formatIssues(huge.issues), 'f  larger than 4194304 bytes: not a configuration')
})

test('a good profile of the file can be named, by itself and in place of a shipped one', t => {
  const own = { prepare: ['tokenize', 'hash-blocks', 'match-prefix'], pick: 'random', execute: 'single' }
  const yaml = stringify({ profiles: { mine: own, random: own }, defaults: { profile: 'mine' } })
  t.deepEqual(good(parseConfig(yaml)).profiles, { mine: own, random: own })
})

test('flags replace what the file says, and answer for it', t => {
  const yaml = 'listen: { port: 1, host: localhost }\npods:\n  - url: http://a:1\n'
  const overrides: Override[] = [
    { flag: '--port', path: ['listen', 'port'], value: 2 },
    { flag: '--pod', path: ['pods'], value: [{ url: 'http://b:1' }] },
    { flag: '--profile', path: ['defaults', 'profile'], value: 'random' },
  ]
  const config = good(parseConfig(yaml, { overrides }))
  t.like(config, { listen: { port: 2, host: 'localhost' }, defaults: { profile: 'random' } })
  t.deepEqual(
    config.pods.map(pod => pod.id),
    ['b:1'],
  )

  const wrong = parseConfig('listen: { port: x }\nadmin: { port: y }\n', {
    file: 'f',
    overrides: [{ flag: '--port', path: ['listen', 'port'], value: 'many' }],
  })
  t.deepEqual(wrong.ok ? [] : formatIssues(wrong.issues).split('\n'), [
    '--port  expected a whole number from 0 to 65535, got "many"',
    'f:2:16  admin.port  expected a whole number from 0 to 65535, got "y"',
  ])
})

/** Either a configuration, or at least one issue that can be printed with a place inside the text. */
function isWellBehaved(source: string | Uint8Array): boolean {
  const result = parseConfig(source, { env: { A: '1' }, file: 'f' })
  if (result.ok) return true
  const lines = (typeof source === 'string' ? source : new TextDecoder().decode(source)).split('\n').length
  return (
    result.issues.length > 0 &&
    result.issues.every(({ line, column, message }) => line <= lines && column >= 0 && message !== '') &&
    formatIssues(result.issues).length > 0
  )
}

test('loading never throws: arbitrary bytes', t => {
  t.notThrows(() =>
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), isWellBehaved), { numRuns: 2000 }),
  )
})

test('loading never throws: arbitrary text that looks like YAML', t => {
  const word = fc.constantFrom(
    ...[
      'pods',
      'url',
      'listen',
      'port',
      'models',
      'name',
      'profiles',
      'pick',
      ': ',
      ':',
      '- ',
      '\n',
      '\n  ',
      '\n    ',
    ],
    ...[
      '&a ',
      '*a',
      '<<: ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '"',
      "'",
      '|',
      '>',
      '? ',
      '!!set ',
      '!!binary ',
      '#',
      '---\n',
      '~',
    ],
    ...[
      '${A}',
      '${B}',
      '${',
      '0',
      '-1',
      '1e999',
      'http://a:1',
      '__proto__',
      'constructor',
      '%YAML 1.1\n',
      '\t',
      '\0',
    ],
  )
  const text = fc.array(word, { maxLength: 30 }).map(words => words.join(''))
  t.notThrows(() => fc.assert(fc.property(text, isWellBehaved), { numRuns: 5000 }))
})

const sections = [
  'listen',
  'admin',
  'limits',
  'pods',
  'models',
  'profiles',
  'passthrough',
  'cache',
  'log',
  'defaults',
]

test('loading never throws: arbitrary data, also under known names', t => {
  const value = fc.anything({
    withNullPrototype: false,
    maxDepth: 3,
    key: fc.constantFrom('url', 'name', 'port', 'pick', 'x y'),
  })
  const data = fc.dictionary(fc.constantFrom(...sections), value, { maxKeys: 4 })
  const yaml = data.map(object => {
    try {
      return stringify(object)
    } catch {
      return ''
    }
  })
  t.notThrows(() => fc.assert(fc.property(yaml, isWellBehaved), { numRuns: 2000 }))
})

test('what a good file says comes out, whatever the values', t => {
  const port = fc.integer({ min: 1, max: 65_535 })
  const pod = fc.record({
    id: fc.stringMatching(/^[a-z][\w-]{0,20}$/),
    port,
    max: fc.integer({ min: 0, max: 1000 }),
  })
  const pods = fc.uniqueArray(pod, { selector: ({ id }) => id, maxLength: 64 })
  const property = fc.property(
    pods,
    port,
    fc.integer({ min: 1, max: 4096 }),
    (list, adminPort, blockSize) => {
      const config = good(
        parseConfig(
          stringify({
            listen: { port: 0 },
            admin: { port: adminPort },
            pods: list.map(({ id, port: p, max }) => ({
              url: `http://p-${id.toLowerCase().replaceAll('_', '-')}-x:${p}/`,
              id,
              maxInflight: max,
            })),
            models: [{ name: 'm', blockSize }],
          }),
        ),
      )
      t.is(config.admin.port, adminPort)
      t.is(config.models[0]?.blockSize, blockSize)
      t.deepEqual(
        config.pods.map(({ id, maxInflight }) => [id, maxInflight]),
        list.map(({ id, max }) => [id, max]),
      )
    },
  )
  fc.assert(property, { numRuns: 100 })
})
