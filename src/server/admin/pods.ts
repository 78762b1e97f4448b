/** `/pods` on the admin port: list, add, delete, cordon. */

import { checkPod } from '../../data/pod-checks.js'
import type { Pod } from '../../data/pod-registry.js'
import type { LiveTransfer } from '../../data/pod-role.js'
import { podSchema } from '../../data/pod-schema.js'
import { PhylloError } from '../../errors.js'
import { toJsonSchema } from '../../yaml/json-schema.js'
import { findingsOf } from '../../yaml/wording.js'
import type { AdminAnswer, AdminDeps, AdminRoute } from './admin.js'
import { showCache } from './cache.js'
import { showEngine } from './engine.js'
import { podStatus } from './gauges.js'
import { showSplits } from './splits.js'

const bodySchema = toJsonSchema(podSchema)

const BREAKERS = ['closed', 'open', 'half-open', 'half-open'] as const

export function podRoutes(deps: AdminDeps): [string, RegExp, AdminRoute][] {
  const show = (pod: Pod) => {
    const { breaker, ...status } = podStatus(deps.state, pod)
    const { id, url, models, labels, maxInflight, cordoned, healthy = null, reason = null } = pod
    const { rank = null, variant = null, role, assigned = null, kvTransfer } = pod
    return {
      id,
      url,
      rank,
      models,
      variant,
      role,
      assigned,
      kvTransfer: role === 'mixed' ? null : shown(kvTransfer),
      labels,
      maxInflight,
      cordoned,
      healthy,
      reason,
      ...status,
      breaker: BREAKERS[breaker] ?? 'closed',
      metrics: showEngine(deps.scraper, pod),
    }
  }
  const find = (text: string | undefined): Named => {
    const name = decode(text ?? '')
    const pods = deps.registry.named(name)
    if (pods.length === 0) throw new PhylloError('path_not_found', `no pod has the id '${name}'`)
    return { name, pods }
  }
  /** A pod, or the ranks of an engine by its name. */
  const showAll = (found: Named) => each(found, show)
  const cordon =
    (on: boolean): AdminRoute =>
    (_exchange, match) => {
      const found = find(match[1])
      deps.registry.cordon(found.name, on)
      deps.log.info(`pod ${found.name} ${on ? 'cordoned' : 'uncordoned'}`)
      return { status: 200, body: showAll(found) }
    }
  return [
    [
      'GET',
      /^\/pods$/,
      () => ({ status: 200, body: { pods: deps.registry.pods.map(show), splits: showSplits(deps) } }),
    ],
    ['GET', /^\/pods\/([^/]+)$/, (_exchange, match) => ({ status: 200, body: showAll(find(match[1])) })],
    [
      'GET',
      /^\/pods\/([^/]+)\/cache$/,
      (_exchange, match) => ({ status: 200, body: each(find(match[1]), pod => showCache(deps, pod)) }),
    ],
    ['POST', /^\/pods$/, async (_exchange, _match, body) => addPod(deps, body, showAll)],
    ['DELETE', /^\/pods\/([^/]+)$/, async (_exchange, match) => removePod(deps, find(match[1]))],
    ['POST', /^\/pods\/([^/]+)\/cordon$/, cordon(true)],
    ['POST', /^\/pods\/([^/]+)\/uncordon$/, cordon(false)],
  ]
}

/** Pods by the name that they were asked for by. */
interface Named {
  readonly name: string
  readonly pods: readonly Pod[]
}

/** What is shown of a pod, or of the ranks of an engine by its name. */
function each<T>({ name, pods }: Named, show: (pod: Pod) => T): T | undefined | { id: string; pods: T[] } {
  return pods.length === 1 ? pods.map(show)[0] : { id: name, pods: pods.map(show) }
}

async function addPod(deps: AdminDeps, body: Buffer, show: (added: Named) => unknown): Promise<AdminAnswer> {
  const parsed = podSchema.safeParse(parseJson(body), { reportInput: true })
  const [found] = parsed.success
    ? checkPod(parsed.data, deps.registry.fleetEvents)
    : parsed.error.issues.flatMap(issue => findingsOf(issue, bodySchema))
  if (!parsed.success || found !== undefined) {
    const param = found?.path.join('.') ?? ''
    const fix = found?.fix === undefined ? '' : `; ${found.fix}`
    const message = `${param === '' ? 'the body' : param}: ${found?.message}${fix}`
    throw new PhylloError('invalid_request', message, param || null)
  }
  try {
    const pods = await deps.add(parsed.data)
    const name = parsed.data.id
    deps.log.info(`pod ${name} added (${parsed.data.url}${pods.length > 1 ? `, ${pods.length} ranks` : ''})`)
    return { status: 201, body: show({ name, pods }) }
  } catch (error) {
    throw new PhylloError('invalid_request', error instanceof Error ? error.message : String(error), 'url')
  }
}

async function removePod(deps: AdminDeps, { name }: Named): Promise<AdminAnswer> {
  await deps.remove(name)
  deps.log.info(`pod ${name} removed; its running requests finish`)
  return { status: 200, body: { id: name, removed: true } }
}

/** A stray percent sign stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    throw new PhylloError('bad_json', 'the body is not valid JSON')
  }
}

/** JSON knows no maps. */
const shown = ({ engines, ...rest }: LiveTransfer) =>
  engines === undefined ? rest : { ...rest, engines: Object.fromEntries(engines) }
