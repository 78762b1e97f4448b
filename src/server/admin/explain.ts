/**
 * `POST /explain`: a request body in, the full decision out, and nothing sent to any pod. Query: `path` (the endpoint
 * the body is meant for, default chat completions), `profile` (decide by another profile than the model's). Headers of
 * the request count as the client's own, so that session keys can be tried.
 */
import { type Draws, OwnTurns } from '../../decision/draws.js'
import { Ranking } from '../../decision/ranking.js'
import { Trace } from '../../decision/trace.js'
import { PhylloError } from '../../errors.js'
import { rehearse } from '../../execution/rehearsal.js'
import { onlyStep } from '../../execution/workflow.js'
import { Endpoints } from '../endpoints.js'
import type { Exchange } from '../listener/listener.js'
import { requestId } from '../request-id.js'
import type { AdminAnswer, AdminDeps, AdminRoute } from './admin.js'

const endpoints = new Endpoints([])

/** The route. Nothing of the fleet changes by it: it books nothing, and takes its turns from a counter of its own. */
export function explainer(deps: AdminDeps): AdminRoute {
  const turns = new OwnTurns()
  return (exchange, _match, body) => explain(deps, turns.draws(), exchange, body)
}

async function explain(
  deps: AdminDeps,
  draws: Draws,
  exchange: Exchange,
  body: Buffer,
): Promise<AdminAnswer> {
  const query = new URLSearchParams(exchange.query)
  const path = query.get('path') ?? '/v1/chat/completions'
  const endpoint = endpoints.match(path)
  if (endpoint?.action !== 'infer') {
    throw new PhylloError('invalid_request', `'${path}' is not a path that takes a decision`, 'path')
  }
  const { decider, look } = deps
  const ctx = decider.contexts.take()
  try {
    const id = requestId(exchange.header('x-request-id'))
    const head = { id, method: 'POST', path, query: '', headers: exchange.headers, kind: endpoint.kind }
    const fault = decider.open(ctx, head, body)
    if (fault !== undefined) throw fault
    const name = query.get('profile') ?? undefined
    const route = name === undefined ? decider.route(ctx) : decider.named(name)
    if (route === undefined)
      throw new PhylloError('invalid_request', `no profile is named '${name}'`, 'profile')
    const trace = new Trace(decider.pods, undefined, { draws, look })
    await route.profile.prepare(ctx, trace)
    // Choices say why in figures where there is a record.
    ctx.trace = trace
    if (onlyStep(route.workflow) === undefined) rehearse(ctx, route, decider, trace)
    else route.profile.select(ctx, ctx.pool, new Ranking(), trace)
    return { status: 200, body: trace }
  } finally {
    decider.contexts.give(ctx)
  }
}
