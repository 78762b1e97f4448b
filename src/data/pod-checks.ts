/**
 * Checks of a list of pods that need more than one field: ids and URLs are unique, and so is each rank's place for KV
 * events, with ports that do not run out.
 */
import type { ConfigPath } from '../yaml/issue.js'
import type { Finding } from '../yaml/wording.js'
import { rankIds } from './pod.js'
import { type FleetKvEvents, kvEventsOf } from './pod-events.js'
import type { PodEntry } from './pod-schema.js'
import { parsePodUrl } from './pod-url.js'
import { MAX_PORT, parseZmqEndpoint, portOf } from './zmq-endpoint.js'

/** `at` is the path of the list. */
export function checkPods(pods: readonly PodEntry[], fleet: FleetKvEvents, at: ConfigPath): Finding[] {
  return [
    ...duplicatePods(pods),
    ...ranksWithoutPort(pods),
    ...portsRunOut(pods, fleet),
    ...sharedEndpoints(pods, fleet, i => `${at.length === 0 ? '' : 'pods'}[${i}]`),
  ].map(found => ({ ...found, path: [...at, ...found.path] }))
}

/** Checks of a pod by itself; paths are those of its fields. */
export function checkPod(pod: PodEntry, fleet: FleetKvEvents): Finding[] {
  const one = [pod]
  return [
    ...ranksWithoutPort(one),
    ...portsRunOut(one, fleet),
    ...sharedEndpoints(one, fleet, () => 'the pod'),
  ].map(found => ({ ...found, path: found.path.slice(1) }))
}

const finding = (path: ConfigPath, message: string, fix: string): Finding => ({
  path,
  at: 'value',
  message,
  fix,
})

function duplicatePods(pods: readonly PodEntry[]): Finding[] {
  const ids = new Map<string, string>()
  const urls = new Map<string, string>()
  return pods.flatMap(({ id, url, dataParallel }, index) => {
    const sameUrl = urls.get(url)
    const names = [id, ...rankIds(id, dataParallel)]
    const sameId = names.map(name => ids.get(name)).find(other => other !== undefined)
    if (sameUrl === undefined) urls.set(url, `pods[${index}]`)
    for (const name of names) if (!ids.has(name)) ids.set(name, `pods[${index}]`)
    if (sameUrl !== undefined)
      return [finding([index, 'url'], `${url} is ${sameUrl} already`, 'keep one of them')]
    if (sameId === undefined) return []
    const message = `the id ${id} belongs to ${sameId} already`
    return [finding([index, 'id'], message, 'give each pod its own id')]
  })
}

/** The endpoints that a pod has of its own, by the names of their fields. */
function ownEndpoints({ kvEvents }: PodEntry): [field: string, endpoint: string][] {
  if (kvEvents === undefined) return []
  const fields: [string, string][] = [['endpoint', kvEvents.endpoint]]
  if (kvEvents.replay !== undefined) fields.push(['replay', kvEvents.replay])
  return fields
}

/** Ranks are told apart by their ports, which `ipc` has none of. */
function ranksWithoutPort(pods: readonly PodEntry[]): Finding[] {
  return pods.flatMap((pod, i) =>
    ownEndpoints(pod).flatMap(([field, endpoint]) => {
      if (pod.dataParallel === 1 || 'fault' in parseZmqEndpoint(endpoint, 'connect')) return []
      if (portOf(endpoint) !== 0) return []
      const message = `${pod.dataParallel} ranks publish at ${pod.dataParallel} ports, but ${endpoint} has none`
      return [finding([i, 'kvEvents', field], message, 'write a tcp:// endpoint')]
    }),
  )
}

function portsRunOut(pods: readonly PodEntry[], fleet: FleetKvEvents): Finding[] {
  return pods.flatMap((pod, i) => {
    const { dataParallel: ranks } = pod
    const own = ownEndpoints(pod).flatMap(([field, endpoint]) =>
      runsOut([i, 'kvEvents', field], portOf(endpoint), ranks, ''),
    )
    if (pod.kvEvents !== undefined) return own
    return (['port', 'replayPort'] as const).flatMap(field =>
      runsOut([i, 'dataParallel'], fleet[field], ranks, ` by kvEvents.${field}`),
    )
  })
}

/** A finding if the last of so many ranks has no port; `by` says where the first one's is from. */
export function runsOut(path: ConfigPath, port: number, ranks: number, by: string): Finding[] {
  const last = port + ranks - 1
  if (port === 0 || last <= MAX_PORT) return []
  const message = `rank ${ranks - 1} would be at port ${last}${by}`
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
function sharedEndpoints(
  pods: readonly PodEntry[],
  fleet: FleetKvEvents,
  called: (index: number) => string,
): Finding[] {
  const byEndpoint = new Map<string, Use[]>()
  return pods.flatMap((pod, i) => {
    for (const use of usesOf(pod, called(i), fleet)) {
      const others = byEndpoint.get(use.endpoint) ?? []
      const other = others.find(each => clash(each, use))
      byEndpoint.set(use.endpoint, [...others, use])
      if (other === undefined) continue
      const message = `${use.what} would be read at ${use.endpoint}, as would ${other.what}`
      // One a pod is enough: the others follow from it.
      return [finding([i, pod.kvEvents === undefined ? 'url' : 'kvEvents'], message, fixFor(pod))]
    }
    return []
  })
}

/** A forwarder's one endpoint may carry several engines, if no topic is the beginning of another. */
function clash(a: Use, b: Use): boolean {
  if (a.topic === undefined || b.topic === undefined) return true
  return a.topic.startsWith(b.topic) || b.topic.startsWith(a.topic)
}

function fixFor({ kvEvents, dataParallel }: PodEntry): string {
  if (dataParallel > 1) return `rank r is at port + r: keep ${dataParallel} ports free for each`
  return kvEvents === undefined ? 'give it kvEvents of its own' : 'give each an endpoint of its own'
}

function usesOf(pod: PodEntry, owner: string, fleet: FleetKvEvents): Use[] {
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
