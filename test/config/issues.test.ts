// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/** Every kind of fault in a file is told with its line, column and path, and with what to write instead. */
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'

interface Case {
  readonly yaml: string
  readonly env?: Record<string, string>
  /** Lines of `formatIssues`, whole. */
  readonly issues: readonly string[]
}

const cases: Record<string, Case> = {
  'an unknown key, with the nearest name': {
    yaml: 'listen:\n  prot: 1\n',
    issues: ['f:2:3  listen.prot  unknown key — write port'],
  },
  'an unknown key in other spelling': {
    yaml: 'pods:\n  - url: http://a:1\n    max_inflight: 3\n',
    issues: ['f:3:5  pods[0].max_inflight  unknown key — write maxInflight'],
  },
  'an unknown key like no other': {
    yaml: 'admin:\n  colour: red\n',
    issues: ['f:2:3  admin.colour  unknown key — known here: host, port'],
  },
  'a number in quotes': {
    yaml: 'listen:\n  port: "80"\n',
    issues: [
      'f:2:9  listen.port  expected a whole number from 0 to 65535, got "80" — write 80 without quotes',
    ],
  },
  'a number out of bounds': {
    yaml: 'models:\n  - name: q\n    blockSize: 0\n',
    issues: ['f:3:16  models[0].blockSize  expected a whole number from 1 to 4096, got 0'],
  },
  'a fraction where a whole number is wanted': {
    yaml: 'health: { unhealthyAfter: 1.5 }\n',
    issues: ['f:1:27  health.unhealthyAfter  expected a whole number from 1 to 100, got 1.5'],
  },
  'a size with a unit': {
    yaml: 'limits:\n  bodyBytes: 64MiB\n',
    issues: [
      'f:2:14  limits.bodyBytes  expected a whole number from 1024 to 1073741824, got "64MiB" — ' +
        'write a plain number: milliseconds for times, bytes for sizes',
    ],
  },
  'a wrong choice': {
    yaml: 'listen:\n  engine: uvs\n',
    issues: ['f:2:11  listen.engine  expected auto, uws or node, got "uvs" — write uws'],
  },
  'a wrong choice of numbers': {
    yaml: 'cache:\n  width: 100\n',
    issues: ['f:2:10  cache.width  expected 64, 256 or 1024, got 100'],
  },
  'neither of two kinds': {
    yaml: 'listen:\n  workers: many\n',
    issues: ['f:2:12  listen.workers  expected auto or a whole number from 1 to 64, got "many"'],
  },
  'a list where a map is wanted': {
    yaml: 'health:\n  - 1\n',
    issues: ['f:2:3  health  expected a map (name: value lines), got a list'],
  },
  'a text where a list is wanted': {
    yaml: 'passthrough: /rerank\n',
    issues: [
      'f:1:14  passthrough  expected a list (lines that begin with "- "), got "/rerank" — write [/rerank]',
    ],
  },
  'a pod without its key': {
    yaml: 'pods:\n  - http://a:1\n',
    issues: ['f:2:5  pods[0]  expected a map (name: value lines), got "http://a:1" — write url: http://a:1'],
  },
  'a number where a text is wanted': {
    yaml: 'models:\n  - name: 7\n',
    issues: ['f:2:11  models[0].name  expected a text, got 7 — put quotes around it: "7"'],
  },
  'a key that is missing': {
    yaml: 'pods:\n  - id: a\n',
    issues: ['f:2:5  pods[0].url  is missing: expected a text'],
  },
  'a path without a slash': {
    yaml: 'passthrough: [rerank]\n',
    issues: ['f:1:15  passthrough[0]  expected a path that begins with /, without a query, got "rerank"'],
  },
  'a host with a port': {
    yaml: 'listen: { host: "[::1]:80" }\n',
    issues: [
      'f:1:17  listen.host  expected a host name or an IP address, without brackets or port, got "[::1]:80"',
    ],
  },
  'a control character in a name': {
    yaml: 'models:\n  - name: "a\\nb"\n',
    issues: [
      'f:2:11  models[0].name  expected 1 to 256 characters, none of them a control character, got "a\\nb"',
    ],
  },
  'a label without a name': {
    yaml: 'pods:\n  - url: http://a:1\n    labels: { "": x }\n',
    issues: [
      'f:3:15  pods[0].labels[""]  bad name: expected 1 to 256 characters, none of them a control character',
    ],
  },
  'no pod URL': {
    yaml: 'pods:\n  - url: foo\n',
    issues: ['f:2:10  pods[0].url  expected an http(s) URL, got "foo" — write http://foo:8000'],
  },
  'a pod URL with /v1': {
    yaml: 'pods:\n  - url: http://a:1/base/v1/\n',
    issues: [
      'f:2:10  pods[0].url  a pod URL ends before /v1: requests bring it themselves — write http://a:1/base',
    ],
  },
  'two pods with one URL, however written': {
    yaml: 'pods:\n  - url: http://a:80/\n  - url: http://A\n',
    issues: ['f:3:10  pods[1].url  http://a is pods[0] already — keep one of them'],
  },
  'two pods with one id': {
    yaml: 'pods:\n  - url: http://a:1\n  - url: http://b:1\n    id: a:1\n',
    issues: ['f:4:9  pods[1].id  the id a:1 belongs to pods[0] already — give each pod its own id'],
  },
  'a pod that is the router': {
    yaml: 'pods:\n  - url: http://localhost:8080\n',
    issues: [
      "f:2:10  pods[0].url  http://localhost:8080 is the router itself (listen.port) — write the engine's own port",
    ],
  },
  'more pods than the index holds': {
    yaml: `cache: { width: 64 }\npods:\n${Array.from({ length: 65 }, (_, i) => `  - url: http://p${i}:1\n`).join('')}`,
    issues: ['f:3:3  pods  65 pods, but cache.width is 64 — write cache.width: 256'],
  },
  'an alias that is a name': {
    yaml: 'models:\n  - { name: a, aliases: [b] }\n  - name: b\n',
    issues: ['f:2:26  models[0].aliases[0]  the name "b" belongs to models[1] already — keep one of them'],
  },
  'one model twice': {
    yaml: 'models:\n  - name: a\n  - name: a\n',
    issues: ['f:3:11  models[1].name  the name "a" belongs to models[0] already — keep one of them'],
  },
  'aliases of the model that stands for all': {
    yaml: 'models:\n  - name: "*"\n    aliases: [a]\n',
    issues: ['f:3:14  models[0].aliases  the * entry stands for many models — leave its aliases out'],
  },
  'a profile that is not there': {
    yaml: 'defaults:\n  profile: cash-aware\nmodels:\n  - { name: a, profile: zzz }\nprofiles: {}\n',
    issues: [
      'f:2:12  defaults.profile  there is no profile "cash-aware" — write cache-aware',
      'f:4:25  models[0].profile  there is no profile "zzz" — there are: random, round-robin, least-request, ' +
        'power-of-two, cache-aware, session-sticky, consistent-hash, chwbl, prefix-hash, vllm-consistent-hash, ' +
        'sglang-cache-aware, aibrix-prefix-cache, llm-d, affinity-gate, dynamo, lmetric, smetric, dualmap, prefill, decode',
    ],
  },
  'what is wrong with profiles, by the decision layer, where it is written': {
    yaml: [
      'profiles:',
      '  a: 3',
      '  b:',
      '    prepare: [tokenize]',
      '    score:',
      '      - prefix-overlap: { wight: 3 }',
      '    pick: max-scor',
      '    execute: single',
      '  c:',
      '    score: [prefix-overlap]',
      '    pick: max-score',
      '    exec: single',
    ].join('\n'),
    issues: [
      'f:2:3  profiles.a  a profile is a map with prepare, filter, score, pick, execute',
      "f:6:27  profiles.b.score[0].prefix-overlap.wight  plugin 'prefix-overlap': unknown option 'wight' (options: weight)",
      "f:7:5  profiles.b.pick  unknown pick plugin 'max-scor'; did you mean 'max-score'?",
      "f:9:3  profiles.c.execute  a profile needs 'execute' (one of: cascade, encode-prefill-decode, hedged, prefill-decode/generic, prefill-decode/sglang, prefill-decode/vllm-mooncake, prefill-decode/vllm-nixl, prefill-decode/vllm-p2p-nccl, single)",
      "f:12:5  profiles.c.exec  unknown stage 'exec'; did you mean 'execute'?",
    ],
  },
  'a slot that nothing writes, with its suppliers': {
    yaml: 'profiles:\n  c:\n    score: [prefix-overlap]\n    pick: max-score\n    execute: single\n',
    issues: [
      "f:3:13  profiles.c.score[0]  plugin 'prefix-overlap' reads slot 'cachedTokens', which nothing before it writes; " +
        "add to prepare, before it: 'match-prefix'",
      "f:3:13  profiles.c.score[0]  plugin 'prefix-overlap' reads slot 'promptLength', which nothing before it writes; " +
        "add to prepare, before it: 'tokenize'",
    ],
  },
  'one port for two': {
    yaml: 'admin:\n  port: 8080\n',
    issues: ['f:2:9  admin.port  listen.port is 8080 already — give the admin port another number'],
  },
  'a control path passed through': {
    yaml: 'passthrough:\n  - /rerank\n  - /v1/%73leep/now\n',
    issues: [
      'f:3:5  passthrough[1]  /v1/%73leep/now controls an engine and is never open to clients — ' +
        "leave it out and use the engine's own port for it",
    ],
  },
  'a model directory that is not there': {
    yaml: 'models:\n  - name: a\n    dir: /no/such\n',
    issues: [
      `f:3:10  models[0].dir  "/no/such" does not exist (/no/such) — name the directory with the model's tokenizer.json`,
    ],
  },
  'a chat template that is not there': {
    yaml: 'models:\n  - name: a\n    chatTemplate: /no/such.jinja\n',
    issues: [
      'f:3:19  models[0].chatTemplate  cannot read the chat template "/no/such.jinja": no such file ' +
        '(/no/such.jinja) — name a Jinja file, or write the template itself',
    ],
  },
  'an environment variable that is not set': {
    yaml: 'pods:\n  - url: http://${HOST}:${PORT}\n',
    env: { HOST: 'a' },
    issues: [
      'f:2:25  pods[0].url  the environment variable PORT is not set — set it, or write ${PORT:-fallback}',
    ],
  },
  'a reference of no known form': {
    yaml: 'log:\n  level: ${LOG LEVEL}\n',
    issues: [
      'f:2:10  log.level  "${LOG LEVEL}" is no reference to an environment variable — ' +
        'write ${NAME} or ${NAME:-fallback}, or $${ for a literal ${',
    ],
  },
  'a reference without quotes inside braces': {
    yaml: 'listen: {port: ${PORT}}\n',
    issues: [
      'f:1:17  Unexpected flow-map-start at node end — put quotes around a ${…} that stands within { } or [ ]',
    ],
  },
  'a duplicate key': {
    yaml: 'admin:\n  port: 1\nadmin:\n  port: 2\n',
    issues: ['f:3:1  Map keys must be unique — keep one of them'],
  },
  'a tab': {
    yaml: 'admin:\n\tport: 1\n',
    issues: ['f:2:1  Tabs are not allowed as indentation — indent with spaces'],
  },
  'a syntax error, without its echoes': {
    yaml: 'admin: { port: 1\nlisten: [2\nx\ny: : z\n',
    issues: ['f:2:1  Flow map in block collection must be sufficiently indented and end with a }'],
  },
  'two documents': {
    yaml: 'admin:\n  port: 1\n---\nadmin:\n  port: 2\n',
    issues: [
      'f:3:1  Source contains multiple documents; please use YAML.parseAllDocuments() — keep one document a file',
    ],
  },
  'an unknown tag': {
    yaml: 'admin:\n  port: !secret 1\n',
    issues: ['f:2:9  Unresolved tag: !secret — leave the tag out'],
  },
  'an anchor that is not there': {
    yaml: 'pods:\n  - *a\n',
    issues: ['f:2:5  pods[0]  there is no anchor &a before this'],
  },
  'an anchor within itself': {
    yaml: 'profiles: &p\n  a: *p\n',
    issues: ['f:2:6  profiles.a  the anchor &p contains itself'],
  },
  'a merge of no map': {
    yaml: 'pods:\n  - <<: http://a:1\n    url: http://a:1\n',
    issues: ['f:2:5  pods[0]  << takes the alias of a map, or a list of such — write <<: *anchor'],
  },
  'a key that is no word': {
    yaml: 'admin:\n  [a]: 1\n',
    issues: ['f:2:3  admin  a key must be a plain word — leave out the brackets or braces'],
  },
  'a key that would change the prototype': {
    yaml: 'profiles:\n  __proto__: {}\n',
    issues: ['f:2:3  profiles  __proto__ cannot be a key'],
  },
  'no map at all': {
    yaml: '- 1\n',
    issues: ['f:1:1  expected a map (name: value lines), got a list'],
  },
}

for (const [title, { yaml, env = {}, issues }] of Object.entries(cases)) {
  test(`tells ${title}`, t => {
    const result = parseConfig(yaml, { file: 'f', env })
    t.false(result.ok)
    if (!result.ok) t.deepEqual(formatIssues(result.issues).split('\n'), [...issues])
  })
}

test('tells all at once, in the order of the file', t => {
  const yaml =
    'log: { level: loud }\npods:\n  - url: ${NOPE}\n  - url: x\nadmin: { port: -1 }\nlisten: { por: 1 }\n'
  const result = parseConfig(yaml, { env: {} })
  t.deepEqual(result.ok ? [] : result.issues.map(({ line, path }) => [line, path]), [
    [1, 'log.level'],
    [3, 'pods[0].url'],
    [4, 'pods[1].url'],
    [5, 'admin.port'],
    [6, 'listen.por'],
  ])
})

test('points into the anchor where a merged or aliased value is wrong', t => {
  const yaml = 'x-base: &base\n  url: foo\npods:\n  - <<: *base\n  - *base\n'
  const result = parseConfig(yaml, { env: {} })
  t.deepEqual(result.ok ? [] : result.issues.map(({ line, path }) => [line, path]), [
    [2, 'pods[0].url'],
    [2, 'pods[1].url'],
  ])
})

test('tells where a file stops being UTF-8', t => {
  const result = parseConfig(Buffer.from('admin:\n  port: 1 # \xe4\n', 'latin1'), { file: 'f' })
  t.is(result.ok ? '' : formatIssues(result.issues), 'f:2:13  the file is not UTF-8 — save it as UTF-8')
})

test('stops anchors that multiply ("billion laughs") and nesting without end', t => {
  const lines = ['x-0: &a0 [1,1,1,1,1,1,1,1,1]']
  for (let i = 1; i < 9; i++)
    lines.push(
      `x-${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}]`,
    )
  const laughs = parseConfig(lines.join('\n'))
  t.regex(laughs.ok ? '' : formatIssues(laughs.issues), /more than 200000 values once anchors are resolved$/)

  const merges = ['x-0: &a0 {}']
  for (let i = 1; i < 30; i++)
    merges.push(
      `x-${i}: &a${i} { <<: [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}] }`,
    )
  t.false(parseConfig(merges.join('\n')).ok)

  const chain = ['x-0: &a0 [1]']
  for (let i = 1; i < 5000; i++) chain.push(`x-${i}: &a${i} [*a${i - 1}]`)
  const deep = parseConfig(chain.join('\n'))
  t.regex(deep.ok ? '' : formatIssues(deep.issues), /nested more than 100 levels deep$/)
  t.regex(formatted('['.repeat(20_000)), /nested too deeply$/)
})

const formatted = (yaml: string): string => {
  const result = parseConfig(yaml)
  return result.ok ? '' : formatIssues(result.issues)
}
