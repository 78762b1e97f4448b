/** The workflow with one step: the request goes to the picked pod as it came, and the answer comes back as it is. */
import { z } from 'zod'
import { executor } from '../../decision/factories.js'
import { tokenBody } from '../forward-tokens.js'
import { forwardedHeaders } from '../headers.js'
import { handsOver, wholeRequest } from '../leg-request.js'
import { withRank } from '../rank-header.js'
import { resumeOption, resumePolicy } from '../resume/options.js'
import type { StepInput, StepRequest, Workflow } from '../workflow.js'
import { workflow } from '../workflow-builder.js'

const options = z.object({
  // Three pods: the pick and two fall-backs. A request that fails on three in a row is likelier the cause than they
  // are, and a fleet in trouble is not helped by more copies of it.
  attempts: z.int().min(1).max(8).default(3).describe('most pods tried for a request, the first included'),
  resume: resumeOption,
})

/** `execute: single` of a profile. */
export const single = executor({
  name: 'single',
  summary: 'send the request to the picked pod; if it fails before its first byte, to the next best',
  options,
})

export function singleWorkflow(given: unknown): Workflow {
  const { attempts, resume } = options.parse(given)
  return workflow('single')
    .step({ name: 'serve', output: 'relay', onFailure: { kind: 'retry', attempts }, request: passThrough })
    .build({ resume: resumePolicy(resume) })
}

/** The client's request for a pod: same method, path, query and bytes, but for a prompt that may go as token ids. */
export function passThrough(input: StepInput<never>): StepRequest {
  const { ctx, pod, clientAddress } = input
  const { request, body } = ctx
  if (handsOver(pod)) return wholeRequest(input)
  const asTokens = tokenBody(input)
  return {
    method: request.method,
    path: request.query === '' ? request.path : `${request.path}?${request.query}`,
    headers: withRank(forwardedHeaders(request, clientAddress), pod),
    body: asTokens ?? (body.length > 0 ? body : null),
    asTokens: asTokens !== undefined,
  }
}
