/** `/pods` on the admin port: list, add, delete, cordon. */
import { z } from 'zod'
import type { Pod } from '../../data/pod-registry.js'
import { PhylloError } from '../../errors.js'
import type { AdminAnswer, AdminDeps, AdminRoute } from './admin.js'
import { podStatus } from './gauges.js'

const podBody = z.strictObject({
  url: z.string(),
  // Ends up in headers, logs and metrics, where a control character does harm.
  id: z
    .string()
    .regex(/^[^\p{Cc}]{1,256}$/u, { error: 'expected 1 to 256 characters, none of them a control character' })
    .optional(),
  models: z.array(z.string()).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  maxInflight: z.int().min(0).max(1_000_000).optional(),
})

const BREAKERS = ['closed', 'open', 'half-open', 'half-open'] as const

export function podRoutes(deps: AdminDeps): [string, RegExp, AdminRoute][] {
  const show = (pod: Pod) => {
    const { breaker, ...status } = podStatus(deps.state, pod)
    const { id, url, models, labels, maxInflight, cordoned, healthy = null, reason = null } = pod
    return {
      id,
      url,
      models,
      labels,
      maxInflight,
      cordoned,
      healthy,
      reason,
      ...status,
      breaker: BREAKERS[breaker] ?? 'closed',
    }
  }
  const find = (id: string | undefined): Pod => {
    const pod = deps.registry.byId(decode(id ?? ''))
    if (pod === undefined) throw new PhylloError('path_not_found', `no pod has the id '${id ?? ''}'`)
    return pod
  }
  const cordon =
    (on: boolean): AdminRoute =>
    (_exchange, match) => {
      const pod = find(match[1])
      deps.registry.cordon(pod.id, on)
      deps.log.info(`pod ${pod.id} ${on ? 'cordoned' : 'uncordoned'}`)
      return { status: 200, body: show(pod) }
    }
  return [
    ['GET', /^\/pods$/, () => ({ status: 200, body: { pods: deps.registry.pods.map(show) } })],
    ['GET', /^\/pods\/([^/]+)$/, (_exchange, match) => ({ status: 200, body: show(find(match[1])) })],
    ['POST', /^\/pods$/, async (_exchange, _match, body) => addPod(deps, body, show)],
    ['DELETE', /^\/pods\/([^/]+)$/, async (_exchange, match) => removePod(deps, find(match[1]))],
    ['POST', /^\/pods\/([^/]+)\/cordon$/, cordon(true)],
    ['POST', /^\/pods\/([^/]+)\/uncordon$/, cordon(false)],
  ]
}

async function addPod(deps: AdminDeps, body: Buffer, show: (pod: Pod) => unknown): Promise<AdminAnswer> {
  const parsed = podBody.safeParse(parseJson(body))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const param = issue?.path.join('.') ?? ''
    throw new PhylloError(
      'invalid_request',
      `${param === '' ? 'the body' : param}: ${issue?.message}`,
      param || null,
    )
  }
  try {
    const pod = await deps.add(parsed.data)
    deps.log.info(`pod ${pod.id} added (${pod.url})`)
    return { status: 201, body: show(pod) }
  } catch (error) {
    throw new PhylloError('invalid_request', error instanceof Error ? error.message : String(error), 'url')
  }
}

async function removePod(deps: AdminDeps, pod: Pod): Promise<AdminAnswer> {
  await deps.remove(pod.id)
  deps.log.info(`pod ${pod.id} removed; its running requests finish`)
  return { status: 200, body: { id: pod.id, removed: true } }
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
