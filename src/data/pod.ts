/** A pod: what an operator or a source of pods says of it, and what the control plane makes of that. */
import type { PodRef } from './native.js'
import { type FleetKvEvents, type KvEventsSpec, kvEventsOf } from './pod-events.js'
import {
  type Assignment,
  DEFAULT_TRANSFER,
  type KvTransfer,
  type LiveTransfer,
  type PodRole,
} from './pod-role.js'
import { type PodUrl, parsePodUrl, podIdOf } from './pod-url.js'
import type { PodInfo } from './pod-view.js'

/** What an operator says of a pod. */
export interface PodSpec {
  /** `http(s)://host:port`, perhaps with a base path. */
  readonly url: string
  /** Defaults to host:port and the base path, if there is one. */
  readonly id?: string | undefined
  /** Models it serves; if absent, its own `/v1/models` says. */
  readonly models?: readonly string[] | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Most requests in flight on it, over all workers; 0 or absent = no limit. */
  readonly maxInflight?: number | undefined
  /** Where it publishes its KV events; absent: where the fleet does, if anywhere. */
  readonly kvEvents?: KvEventsSpec | undefined
  /** Data-parallel ranks behind the URL, each with a cache of its own; absent: it is one pod. */
  readonly dataParallel?: number | undefined
  /** Steps of a request that it takes; absent: whole requests. */
  readonly role?: PodRole | undefined
  /** How it hands KV blocks over; absent: DEFAULT_TRANSFER. */
  readonly kvTransfer?: KvTransfer | undefined
  /** Name of the configured model whose files it runs, where that is not the served model's own. */
  readonly variant?: string | undefined
  /** It takes no new requests until it is uncordoned. */
  readonly cordoned?: boolean | undefined
}

/** A pod as the control plane sees it. */
export interface Pod {
  readonly ref: PodRef
  readonly id: string
  /** What an operator calls it: the id, but for a data-parallel rank that of the whole engine. */
  readonly name: string
  /** Its data-parallel rank, where several share the URL. */
  readonly rank: number | undefined
  readonly url: string
  readonly origin: string
  readonly basePath: string
  labels: Readonly<Record<string, string>>
  role: PodRole
  /** What a pod of role `both` is kept to for the time being. */
  assigned?: Assignment | undefined
  kvTransfer: LiveTransfer
  /** Most requests in flight on it; 0 = no limit. */
  maxInflight: number
  /** Where its events (its rank's) are published; undefined if nowhere. */
  readonly kvEvents: KvEventsSpec | undefined
  /** The configured model whose files it runs, where that is not the served model's own. */
  readonly variant: string | undefined
  /** Told by the operator: the pod's own list is then ignored. */
  fixedModels: boolean
  models: readonly string[]
  /** Cordoned by an operator. */
  cordoned: boolean
  /** Judged by the health checker; undefined before the first check. */
  healthy: boolean | undefined
  /** Why it is not healthy. */
  reason: string | undefined
}

/** What a pod is called, and where it is. */
export interface PodNames {
  readonly id: string
  readonly name: string
  readonly rank: number | undefined
  readonly url: PodUrl
}

/** The ranks that a pod is entered as; one undefined where it is no data-parallel engine. */
export function ranksOf({ dataParallel = 1 }: PodSpec): (number | undefined)[] {
  return dataParallel <= 1 ? [undefined] : Array.from({ length: dataParallel }, (_, rank) => rank)
}

/** Ids of an engine's ranks; none where it has but one. */
export const rankIds = (name: string, dataParallel: number): string[] =>
  dataParallel <= 1 ? [] : Array.from({ length: dataParallel }, (_, rank) => rankId(name, rank))

const rankId = (name: string, rank: number): string => `${name}-dp${rank}`

/** Names of a rank of a pod. Throws on a bad URL, with how it should look. */
export function namesOf(spec: PodSpec, rank: number | undefined): PodNames {
  const url = podUrl(spec.url)
  const name = spec.id ?? podIdOf(url)
  return { id: rank === undefined ? name : rankId(name, rank), name, rank, url }
}

function podUrl(text: string): PodUrl {
  const url = parsePodUrl(text)
  if ('origin' in url) return url
  throw new Error(url.fix === undefined ? url.fault : `${url.fault}; ${url.fix}`)
}

/** Does a name belong to a pod already? Ranks of an engine share it, and nothing else does: it means one engine. */
export function isTaken(pod: Pod, { id, name, rank }: PodNames): boolean {
  const isSibling = rank !== undefined && pod.rank !== undefined && pod.name === name
  return pod.id === id || pod.id === name || (pod.name === name && !isSibling)
}

/** The pod that a spec describes, as it enters the registry. */
export function makePod(spec: PodSpec, names: PodNames, ref: PodRef, fleet: FleetKvEvents): Pod {
  const { id, name, rank, url } = names
  return {
    ref,
    id,
    name,
    rank,
    url: spec.url,
    origin: url.origin,
    basePath: url.basePath,
    labels: spec.labels ?? {},
    role: spec.role ?? 'mixed',
    kvTransfer: spec.kvTransfer ?? DEFAULT_TRANSFER,
    maxInflight: spec.maxInflight ?? 0,
    kvEvents: kvEventsOf(spec.kvEvents, fleet, url.origin, rank ?? 0),
    variant: spec.variant,
    fixedModels: spec.models !== undefined && spec.models.length > 0,
    models: spec.models ?? [],
    cordoned: spec.cordoned ?? false,
    healthy: undefined,
    reason: undefined,
  }
}

/** What the workers are told of a pod. */
export function infoOf(pod: Pod): PodInfo {
  const { ref, id, origin, basePath, models, labels, maxInflight, rank, variant, kvTransfer } = pod
  const { role, assigned } = pod
  return { ref, id, origin, basePath, models, labels, maxInflight, rank, variant, role, assigned, kvTransfer }
}
