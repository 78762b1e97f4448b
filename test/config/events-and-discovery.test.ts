/** KV events, data-parallel ranks, variants and discovery in the configuration: what is read, and what is refused. */
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import type { RouterOptions } from '#phyllo/server/options.js'

const read = (yaml: string): string => {
  const result = parseConfig(yaml, { file: 'f', env: {} })
  return result.ok ? 'fine' : formatIssues(result.issues)
}

function options(yaml: string): RouterOptions {
  const result = parseConfig(yaml, { file: 'f', env: {}, baseDir: '/etc/phyllo' })
  if (!result.ok) throw new Error(formatIssues(result.issues))
  return result.config
}

test('an endpoint alone stands for all of kvEvents', t => {
  const short = options('pods: [{ url: "http://a:1", kvEvents: "tcp://a:5557" }]').pods[0]?.kvEvents
  const long = options('pods: [{ url: "http://a:1", kvEvents: { endpoint: "tcp://a:5557" } }]').pods[0]
    ?.kvEvents
  t.deepEqual(short, { endpoint: 'tcp://a:5557', topic: '', firstSequence: 0 })
  t.deepEqual(long, short)
})

test('a file of pods is found from where the configuration is', t => {
  t.deepEqual(options('discovery: { file: { path: pods.yaml } }').discovery.file, {
    path: '/etc/phyllo/pods.yaml',
    intervalMs: 1000,
  })
})

const pod = (fields: string, more = '') => `${more}pods:\n  - url: http://a:1\n    ${fields}\n`

const refused: Record<string, { yaml: string; issues: string }> = {
  'an endpoint without a scheme': {
    yaml: pod('kvEvents: a:5557'),
    issues:
      'f:3:15  pods[0].kvEvents  expected a ZMQ endpoint, got "a:5557" — write tcp://host:5557 or ipc:///path/of/socket',
  },
  'an endpoint that is where the engine listens': {
    yaml: pod('kvEvents: { endpoint: "tcp://*:5557" }'),
    issues:
      'f:3:27  pods[0].kvEvents.endpoint  nothing can connect to tcp://*:5557: that is where an engine listens — ' +
      "name the engine's host: tcp://host:5557",
  },
  'a port beyond all': {
    yaml: pod('kvEvents: tcp://a:65536'),
    issues:
      'f:3:15  pods[0].kvEvents  expected a ZMQ endpoint, got "tcp://a:65536" — write tcp://host:5557 or ipc:///path/of/socket',
  },
  'an unknown key in kvEvents': {
    yaml: pod('kvEvents: { endpont: "tcp://a:5557" }'),
    issues:
      'f:3:5  pods[0].kvEvents.endpoint  is missing: expected a text\n' +
      'f:3:17  pods[0].kvEvents.endpont  unknown key — write endpoint',
  },
  'a number where a field is a text': {
    yaml: pod('kvEvents: { endpoint: "tcp://a:5557", topic: 7 }'),
    issues: 'f:3:50  pods[0].kvEvents.topic  expected a text, got 7 — put quotes around it: "7"',
  },
  'neither an endpoint nor a map': {
    yaml: pod('kvEvents: 5557'),
    issues: 'f:3:15  pods[0].kvEvents  expected a text or a map (name: value lines), got 5557',
  },
  'ranks beyond the last port': {
    yaml: pod('dataParallel: 4\n    kvEvents: tcp://a:65533'),
    issues: 'f:4:5  pods[0].kvEvents.endpoint  rank 3 would be at port 65536 — choose a port up to 65532',
  },
  'ranks beyond the last port of the fleet': {
    yaml: pod('dataParallel: 4', 'kvEvents: { port: 5557, replayPort: 65534 }\n'),
    issues:
      'f:4:19  pods[0].dataParallel  rank 3 would be at port 65537 by kvEvents.replayPort — choose a port up to 65532',
  },
  'ranks found by DNS beyond the last port': {
    yaml: 'kvEvents: { port: 65535 }\ndiscovery: { dns: [{ name: engines, dataParallel: 2 }] }\n',
    issues:
      'f:2:51  discovery.dns[0].dataParallel  rank 1 would be at port 65536 by kvEvents.port — choose a port up to 65534',
  },
  "replays at the next rank's events": {
    yaml: pod('dataParallel: 2\n    kvEvents: { endpoint: "tcp://a:5557", replay: "tcp://a:5558" }'),
    issues:
      "f:4:15  pods[0].kvEvents  the events of pods[0]'s rank 1 would be read at tcp://a:5558, as would the replays of " +
      "pods[0]'s rank 0 — rank r is at port + r: keep 2 ports free for each",
  },
  "replays at the next rank's events, by the fleet's ports": {
    yaml: pod('dataParallel: 2', 'kvEvents: { port: 5557, replayPort: 5558 }\n'),
    issues:
      "f:3:10  pods[0].url  the events of pods[0]'s rank 1 would be read at tcp://a:5558, as would the replays of " +
      "pods[0]'s rank 0 — rank r is at port + r: keep 2 ports free for each",
  },
  'two pods of one host, and one port': {
    yaml: pod('', 'kvEvents: { port: 5557 }\n') + '  - url: http://a:2\n',
    issues:
      'f:5:10  pods[1].url  the events of pods[1] would be read at tcp://a:5557, as would the events of pods[0] — ' +
      'give it kvEvents of its own',
  },
  'ranks at one socket file': {
    yaml: pod('dataParallel: 2\n    kvEvents: { endpoint: "ipc:///run/events" }'),
    issues:
      "f:4:15  pods[0].kvEvents  the events of pods[0]'s rank 1 would be read at ipc:///run/events, as would the events " +
      "of pods[0]'s rank 0 — rank r is at port + r: keep 2 ports free for each\n" +
      'f:4:27  pods[0].kvEvents.endpoint  2 ranks publish at 2 ports, but ipc:///run/events has none — write a tcp:// endpoint',
  },
  'replays without events': {
    yaml: 'kvEvents: { replayPort: 5558 }\n',
    issues:
      'f:1:25  kvEvents.replayPort  there are replays only of events — set kvEvents.port too, or kvEvents.bind ' +
      'for engines that dial in',
  },
  'a port to listen on twice': {
    yaml: 'kvEvents: { bind: ["tcp://*:9090", "tcp://*:7000", "tcp://127.0.0.1:7000"] }\n',
    issues:
      'f:1:20  kvEvents.bind[0]  port 9090 is admin.port already — choose another port\n' +
      'f:1:52  kvEvents.bind[2]  port 7000 is kvEvents.bind[1] already — choose another port',
  },
  'a variant that is no model': {
    yaml: pod('variant: qwen3-nxt', 'models: [{ name: qwen3 }, { name: qwen3-next }, { name: "*" }]\n'),
    issues: 'f:4:14  pods[0].variant  there is no models entry named "qwen3-nxt" — write qwen3-next',
  },
  'a variant that stands for any model': {
    yaml: pod('variant: "*"', 'models: [{ name: "*" }]\n'),
    issues:
      'f:4:14  pods[0].variant  there is no models entry named "*" — add it to models: with its dir and blockSize',
  },
  'two models entries of one name': {
    yaml: 'models: [{ name: q }, { name: q }]\n',
    issues: 'f:1:31  models[1].name  the name "q" belongs to models[0] already — keep one of them',
  },
  "an id that is another engine's rank": {
    yaml: 'pods:\n  - { url: "http://a:1", id: x, dataParallel: 2 }\n  - { url: "http://a:2", id: x-dp1 }\n',
    issues: 'f:3:30  pods[1].id  the id x-dp1 belongs to pods[0] already — give each pod its own id',
  },
  'more ranks than the index holds': {
    yaml: pod('dataParallel: 65', 'cache: { width: 64 }\n'),
    issues:
      'f:3:3  pods  65 pods, each rank of an engine being one, but cache.width is 64 — write cache.width: 256',
  },
  'a DNS name twice': {
    yaml: 'discovery: { dns: [{ name: a.b }, { name: A.B. }, { name: a.b, type: AAAA }, { name: a.b, port: 9 }] }\n',
    issues:
      'f:1:43  discovery.dns[1].name  A records of A.B. are asked for by discovery.dns[0] already — keep one of them',
  },
  'a DNS name with a port': {
    yaml: 'discovery: { dns: [{ name: "a.b:8000" }] }\n',
    issues: 'f:1:28  discovery.dns[0].name  expected a DNS name, such as engines.default.svc, got "a.b:8000"',
  },
  'a name server by name': {
    yaml: 'discovery: { dns: [{ name: a.b, servers: [ns.local] }] }\n',
    issues:
      'f:1:43  discovery.dns[0].servers[0]  expected an IP address, with a port if it is not 53: 10.0.0.10 or ' +
      '[fd00::10]:5353, got "ns.local"',
  },
  'metrics that are forgotten before they are read again': {
    yaml: 'scrape: { intervalMs: 10000 }\n',
    issues: 'f:1:23  scrape.intervalMs  expected a whole number from 0 to 5000, got 10000',
  },
  'busy pods looked at less often than idle ones': {
    yaml: 'scrape: { intervalMs: 100 }\n',
    issues:
      'f:1:1  scrape.fastMs  pods near saturation would be looked at less often than others (100 ms) — write 100 or less',
  },
}

for (const [name, { yaml, issues }] of Object.entries(refused))
  test(`refused: ${name}`, t => t.is(read(yaml), issues))

const accepted: Record<string, string> = {
  'replays of engines that dial in': 'kvEvents: { replayPort: 5558, bind: ["tcp://*:5557"] }\n',
  'an engine per port of one host':
    pod('kvEvents: "tcp://a:5557"') + '  - { url: "http://a:2", kvEvents: "tcp://a:5558" }\n',
  'replays apart from the ranks': pod(
    'dataParallel: 2\n    kvEvents: { endpoint: "tcp://[fd00::1]:5557", replay: "tcp://[fd00::1]:5559" }',
  ),
  'a forwarder of several engines':
    pod('kvEvents: { endpoint: "tcp://proxy:5557", topic: "kv@a:1@" }') +
    '  - { url: "http://b:1", kvEvents: { endpoint: "tcp://proxy:5557", topic: "kv@b:1@" } }\n',
  'no scraping at all': 'scrape: { intervalMs: 0 }\n',
  'two hosts, one port': `${pod('', 'kvEvents: { port: 5557, replayPort: 5558 }\n')}  - url: http://b:1\n`,
}
for (const [name, yaml] of Object.entries(accepted)) test(`accepted: ${name}`, t => t.is(read(yaml), 'fine'))
