/** Checks of where KV events come from: every rank of every pod has an endpoint of its own, and ports do not run out. */
import { type FleetKvEvents, kvEventsOf } from '../data/pod-events.js'
import { parsePodUrl } from '../data/pod-url.js'
import { parseZmqEndpoint } from '../data/zmq-endpoint.js'
import type { ConfigPath } from '../yaml/issue.js'
import type { Finding } from '../yaml/wording.js'
import type { RouterConfig } from './schema.js'

type Pod = RouterConfig['pods'][number]

const MAX_PORT = 65_535

export function checkKvEvents(config: RouterConfig): Finding[] {
  return [
    ...replayAlone(config),
    ...ranksWithoutPort(config),
    ...ownPortsRunOut(config),
    ...fleetPortsRunOut(config),
    ...sharedEndpoints(config),
    ...bindClashes(config),
  ]
}

const finding = (path: ConfigPath, message: string, fix: string): Finding => ({
  path,
  at: 'value',
  message,
  fix,
})

function replayAlone({ kvEvents: { port, replayPort } }: RouterConfig): Finding[] {
  if (port !== 0 || replayPort === 0) return []
  return [finding(['kvEvents', 'replayPort'], 'there are replays only of events', 'set kvEvents.port too')]
}

/** The endpoints that a pod has of its own, by the names of their fields. */
function ownEndpoints({ kvEvents }: Pod): [field: string, endpoint: string][] {
  if (kvEvents === undefined) return []
  const { endpoint, replay } = kvEvents
  return replay === undefined
    ? [['endpoint', endpoint]]
    : [
        ['endpoint', endpoint],
        ['replay', replay],
      ]
}

/** Ranks are told apart by their ports, which `ipc` has none of. */
function ranksWithoutPort({ pods }: RouterConfig): Finding[] {
  return pods.flatMap((pod, i) =>
    ownEndpoints(pod).flatMap(([field, endpoint]) => {
      if (pod.dataParallel === 1 || portOf(endpoint) !== 0) return []
      const message = `${pod.dataParallel} ranks publish at ${pod.dataParallel} ports, but ${endpoint} has none`
      return [finding(['pods', i, 'kvEvents', field], message, 'write a tcp:// endpoint')]
    }),
  )
}

/** 0 where it has none. */
function portOf(endpoint: string): number {
  const parsed = parseZmqEndpoint(endpoint, 'bind')
  return 'fault' in parsed || parsed.scheme !== 'tcp' ? 0 : parsed.port
}

function ownPortsRunOut({ pods }: RouterConfig): Finding[] {
  return pods.flatMap((pod, i) =>
    ownEndpoints(pod).flatMap(([field, endpoint]) =>
      runsOut(['pods', i, 'kvEvents', field], portOf(endpoint), pod.dataParallel, 'the pod'),
    ),
  )
}

function fleetPortsRunOut({ pods, discovery, kvEvents }: RouterConfig): Finding[] {
  const users = [
    ...pods.map((pod, i) => ({
      name: `pods[${i}]`,
      ranks: pod.kvEvents === undefined ? pod.dataParallel : 0,
    })),
    ...discovery.dns.map(({ dataParallel }, i) => ({ name: `discovery.dns[${i}]`, ranks: dataParallel })),
  ]
  const most = users.reduce((a, b) => (b.ranks > a.ranks ? b : a), { name: '', ranks: 1 })
  return (['port', 'replayPort'] as const).flatMap(field =>
    runsOut(['kvEvents', field], kvEvents[field], most.ranks, most.name),
  )
}

function runsOut(path: ConfigPath, port: number, ranks: number, owner: string): Finding[] {
  const last = port + ranks - 1
  if (port === 0 || last <= MAX_PORT) return []
  const message = `rank ${ranks - 1} of ${owner} would be at port ${last}`
  return [finding(path, message, `choose a port up to ${MAX_PORT - ranks + 1}`)]
}

/** A socket of an engine that is read. */
interface Use {
  readonly endpoint: string
  /** Undefined: replays. */
  readonly topic: string | undefined
  readonly what: string
}

/** Two pods that read one publisher would each take the other's blocks for their own. */
function sharedEndpoints({ pods, kvEvents }: RouterConfig): Finding[] {
  const byEndpoint = new Map<string, Use[]>()
  return pods.flatMap((pod, i) => {
    for (const use of usesOf(pod, `pods[${i}]`, kvEvents)) {
      const others = byEndpoint.get(use.endpoint) ?? []
      const other = others.find(each => clash(each, use))
      byEndpoint.set(use.endpoint, [...others, use])
      if (other === undefined) continue
      const path = pod.kvEvents === undefined ? ['pods', i, 'url'] : ['pods', i, 'kvEvents']
      const message = `${use.what} would be read at ${use.endpoint}, as would ${other.what}`
      // One a pod is enough: the others follow from it.
      return [finding(path, message, fixFor(pod))]
    }
    return []
  })
}

/** A forwarder's one endpoint may carry several engines, if no topic is the beginning of another. */
function clash(a: Use, b: Use): boolean {
  if (a.topic === undefined || b.topic === undefined) return true
  return a.topic.startsWith(b.topic) || b.topic.startsWith(a.topic)
}

function fixFor({ kvEvents, dataParallel }: Pod): string {
  if (dataParallel > 1) return `rank r is at port + r: keep ${dataParallel} ports free for each`
  return kvEvents === undefined ? 'give it kvEvents of its own' : 'give each an endpoint of its own'
}

function usesOf(pod: Pod, owner: string, fleet: FleetKvEvents): Use[] {
  const url = parsePodUrl(pod.url)
  if (!('origin' in url)) return []
  return Array.from({ length: pod.dataParallel }).flatMap((_, rank) => {
    const spec = kvEventsOf(pod.kvEvents, fleet, url.origin, rank)
    if (spec === undefined) return []
    const who = pod.dataParallel === 1 ? owner : `${owner}'s rank ${rank}`
    const events = { endpoint: spec.endpoint, topic: spec.topic, what: `the events of ${who}` }
    if (spec.replay === undefined) return [events]
    return [events, { endpoint: spec.replay, topic: undefined, what: `the replays of ${who}` }]
  })
}

function bindClashes({ kvEvents, listen, admin }: RouterConfig): Finding[] {
  const taken = new Map([
    [admin.port, 'admin.port'],
    [listen.port, 'listen.port'],
  ])
  return kvEvents.bind.flatMap((endpoint, i) => {
    const port = portOf(endpoint)
    const owner = taken.get(port)
    if (port === 0) return []
    taken.set(port, owner ?? `kvEvents.bind[${i}]`)
    if (owner === undefined) return []
    return [finding(['kvEvents', 'bind', i], `port ${port} is ${owner} already`, 'choose another port')]
  })
}
