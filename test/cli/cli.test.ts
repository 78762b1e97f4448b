/** The command line as users meet it: a process with arguments, two streams and an exit code. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = new URL('../../../', import.meta.url)
const main = fileURLToPath(new URL('dist/cli/main.js', root))
const folder = mkdtempSync(join(tmpdir(), 'phyllo-cli-'))
test.after.always(() => rmSync(folder, { recursive: true }))

async function phyllo(args: readonly string[], input = '') {
  const child = spawn(process.execPath, [main, ...args], { stdio: 'pipe', cwd: folder })
  child.stdin.end(input)
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, out, err }
}
const write = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return name
}

test('--version prints the version of the package', async t => {
  const { version }: { version: string } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  t.deepEqual(await phyllo(['--version']), { code: 0, out: `${version}\n`, err: '' })
})

test('help lists every command and exits 0; no command at all is wrong usage', async t => {
  const help = await phyllo(['--help'])
  t.is(help.code, 0)
  for (const name of [
    'serve',
    'check',
    'schema',
    'explain',
    'replay',
    'engine',
    'demo',
    'simulate',
    'tune',
  ]) {
    t.regex(help.out, new RegExp(`^  ${name} `, 'm'))
  }
  const nothing = await phyllo([])
  t.is(nothing.code, 2)
  t.is(nothing.out, '')
  t.regex(nothing.err, /Usage: phyllo/)
})

test('check accepts the example and sums it up', async t => {
  const file = fileURLToPath(new URL('phyllo.example.yaml', root))
  const { code, out, err } = await phyllo(['check', file])
  t.deepEqual([code, err], [0, ''])
  t.regex(
    out,
    /: ok — 4 pods, 3 models, 1 own profile, default profile cache-aware, public 0\.0\.0\.0:8080, admin/,
  )
})

test('check says that an empty file has no pods', async t => {
  const { code, out } = await phyllo(['check', write('empty.yaml', '')])
  t.is(code, 0)
  t.regex(out, /no pods \(add them with --pod or POST \/pods\)/)
})

test('check judges the file of pods too, if it is there', async t => {
  const pods = write('pods.yaml', '- url: http://a:1\n- url: http://b:1\n')
  const file = write('found.yaml', 'discovery: { file: { path: pods.yaml }, dns: [{ name: e.test }] }\n')
  const good = await phyllo(['check', file])
  t.deepEqual([good.code, good.err], [0, ''])
  t.regex(good.out, /: ok — 2 pods from \S*pods\.yaml, 0 pods, pods by DNS A e\.test, 0 models/)
  write('pods.yaml', '- url: http://a:1\n- urk: x\n')
  const bad = await phyllo(['check', file])
  t.is(bad.code, 1)
  t.regex(bad.err, /pods\.yaml:2:3 {2}\[1\]\.urk {2}unknown key — write url\n/)
  rmSync(join(folder, pods))
  const none = await phyllo(['check', file])
  t.is(none.code, 0)
  t.regex(none.out, /: ok — no pods from \S*pods\.yaml yet \(no such file\)/)
})

test('check tells all issues on standard error, a line each, and exits 1', async t => {
  const file = write('bad.yaml', 'listen:\n  prot: 1\npods:\n  - url: foo\n')
  t.deepEqual(await phyllo(['check', file]), {
    code: 1,
    out: '',
    err:
      'bad.yaml:2:3  listen.prot  unknown key — write port\n' +
      'bad.yaml:4:10  pods[0].url  expected an http(s) URL, got "foo" — write http://foo:8000\n',
  })
  t.deepEqual(await phyllo(['check', 'none.yaml']), {
    code: 1,
    out: '',
    err: 'none.yaml  cannot read the configuration: no such file\n',
  })
})

test('schema prints a JSON Schema that knows the plugins with their options', async t => {
  const { code, out, err } = await phyllo(['schema'])
  t.deepEqual([code, err], [0, ''])
  const schema: unknown = JSON.parse(out)
  t.like(schema, { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'Phyllo configuration' })
  t.regex(out, /"prefix-overlap"/)
  t.regex(out, /How much the score counts/)
})

const usage: Record<string, { args: string[]; err: RegExp }> = {
  'an unknown command, with a suggestion': {
    args: ['chek'],
    err: /^phyllo: unknown command 'chek'\n\(Did you mean check\?\)/,
  },
  'an unknown option': {
    args: ['serve', '--prot', '1'],
    err: /^phyllo: unknown option '--prot'\n\(Did you mean --/,
  },
  'a missing argument': { args: ['check'], err: /^phyllo: missing required argument 'file'/ },
  'a flag that is out of bounds': {
    args: ['serve', '--pod', 'http://a:1', '--port', '99999'],
    err: /^--port {2}expected a whole number from 0 to 65535, got 99999\n$/,
  },
  'a flag that is no number': {
    args: ['serve', '--pod', 'http://a:1', '--workers', 'many'],
    err: /^--workers {2}expected auto or a whole number from 1 to 64, got "many"\n$/,
  },
  'a wrong profile': {
    args: ['serve', '--pod', 'http://a:1', '--profile', 'cash-aware'],
    err: /^--profile {2}there is no profile "cash-aware" — write cache-aware\n$/,
  },
  'a pod that is no URL': {
    args: ['serve', '--pod', 'host:8000'],
    err: /^--pod {2}expected an http\(s\) URL, got "host:8000" — write http:\/\/host:8000\n$/,
  },
  'a model directory that is not there': {
    args: ['serve', '--pod', 'http://a:1', '--model-dir', 'nowhere'],
    err: /^--model-dir {2}".*nowhere" does not exist/,
  },
  'no pods': {
    args: ['serve'],
    err: /^phyllo: no pods to route to: name the engines with --pod http:\/\/host:8000\n$/,
  },
  'a flag that clashes with a default': {
    args: ['serve', '--pod', 'http://a:1', '--port', '9090'],
    err: /^command line {2}admin\.port {2}listen\.port is 9090 already — give the admin port another number\n$/,
  },
  'an option of the engine': {
    args: ['engine', '--block-size', '0', '--listen', 'apache'],
    err: /^--listen {2}expected auto, uws or node, got "apache"\n--block-size {2}expected .*, got 0\n$/,
  },
  'an admin port that is no URL': {
    args: ['explain', '-', '--admin', 'x'],
    err: /^--admin {2}expected an http\(s\) URL/,
  },
  'a header that is none': {
    args: ['explain', '-', '--header', 'x'],
    err: /^--header {2}expected "name: value", got "x"/,
  },
}

for (const [title, { args, err }] of Object.entries(usage)) {
  test(`wrong usage exits 2, without a stack trace: ${title}`, async t => {
    const result = await phyllo(args)
    t.is(result.code, 2)
    t.is(result.out, '')
    t.regex(result.err, err)
    t.notRegex(result.err, /\n {4}at /)
  })
}

test('serve without pods in its file names the file', async t => {
  const { code, err } = await phyllo(['serve', '-c', write('nopods.yaml', 'log: { level: warn }\n')])
  t.is(code, 2)
  t.regex(err, /or under pods: or discovery: in nopods\.yaml$/m)
})

test('serve with a bad file exits 1 with its issues', async t => {
  const { code, err } = await phyllo(['serve', '-c', write('bad2.yaml', 'pod: []\n'), '--port', '1'])
  t.is(code, 1)
  t.is(err, 'bad2.yaml:1:1  pod  unknown key — write pods\n')
})

test('explain sends the body to the admin port and prints the answer indented', async t => {
  const seen: string[] = []
  const server = createServer(async (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['x-session']} ${await text(request)}`)
    response.end('{"pod":"a","scores":[1]}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const flags = [
    '--admin',
    `http://127.0.0.1:${port}/`,
    '--path',
    '/v1/completions',
    '--header',
    'x-session: s1',
  ]
  const result = await phyllo(['explain', '-', ...flags], '{"model":"m"}')
  t.deepEqual(result, { code: 0, out: '{\n  "pod": "a",\n  "scores": [\n    1\n  ]\n}\n', err: '' })
  t.deepEqual(seen, ['POST /explain?path=%2Fv1%2Fcompletions s1 {"model":"m"}'])
  server.close()
})

test('explain tells what the router answered, or that there is none', async t => {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(404).end('{"error":{"message":"no such model"}}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const admin = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const refused = await phyllo(['explain', '-', '--admin', admin], '{}')
  t.deepEqual(refused, { code: 1, out: '', err: 'phyllo: the router answered 404: no such model\n' })
  await new Promise(resolve => server.close(resolve))
  const gone = await phyllo(['explain', '-', '--admin', admin], '{}')
  t.is(gone.code, 1)
  t.regex(gone.err, /^phyllo: cannot ask http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED.*is the router running/)
  const unread = await phyllo(['explain', 'none.json'])
  t.regex(unread.err, /^phyllo: cannot read the request: ENOENT/)
})

test('a reader that has seen enough (`phyllo schema | head`) was told of an unhandled error', async t => {
  const child = spawn(
    'bash',
    ['-o', 'pipefail', '-c', '"$@" | head -c 10', 'bash', process.execPath, main, 'schema'],
    {
      stdio: 'pipe',
    },
  )
  child.stdin.end()
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  t.deepEqual([child.exitCode, out.length, err], [0, 10, ''])
})
