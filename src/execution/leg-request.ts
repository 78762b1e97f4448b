/** The parts of a request that go to every pod in the same way, and requests to pods that hand KV blocks over. */
import { aloneBody, withoutClientHeaders } from './hand-off/client-fields.js'
import { forwardedHeaders } from './headers.js'
import { withRank } from './rank-header.js'
import type { StepInput, StepRequest } from './workflow.js'

/**
 * The head of a request for a pod that hands over: the client's method, path and headers, without what only the router
 * may say. `own`: puts a protocol's headers in; it takes the client's out itself.
 */
export function leg(
  { ctx, pod, clientAddress }: StepInput<never>,
  own: (headers: readonly string[]) => string[] = withoutClientHeaders,
): Omit<StepRequest, 'body' | 'asTokens'> {
  const { request } = ctx
  return {
    method: request.method,
    path: request.query === '' ? request.path : `${request.path}?${request.query}`,
    headers: withRank(own(forwardedHeaders(request, clientAddress)), pod),
  }
}

/** The whole request for a pod that could hand over: as it came, but for what engines would believe of KV blocks. */
export function wholeRequest(input: StepInput<never>): StepRequest {
  const { ctx } = input
  return { ...leg(input), body: ctx.body.length > 0 ? cleaned(ctx) : null, asTokens: false }
}

function cleaned(ctx: StepInput<never>['ctx']): Uint8Array {
  if (ctx.modelId >= 0) return aloneBody(ctx)
  // A path passed through, whose body nobody has read: what is no JSON object has no such fields.
  try {
    return aloneBody(ctx.body)
  } catch {
    return ctx.body
  }
}

/** Whether the pod believes what requests say of KV blocks. */
export const handsOver = ({ role }: StepInput<never>['pod']): boolean =>
  role !== undefined && role !== 'mixed'
