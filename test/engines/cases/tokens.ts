/** The router's count of prompt tokens is the engine's, request by request. */
import assert from 'node:assert/strict'
import { z } from 'zod'
import { LLAMACPP_MODEL, VLLM_MODEL } from '../engines.js'
import { type Fleet, type FleetCase, post } from '../fleet.js'
import { explain } from '../router.js'
import { plainRequests, type TokenRequest, vllmRequests } from '../token-requests.js'

const usage = z.object({ usage: z.object({ prompt_tokens: z.number() }) })

/** Undefined if both count the same. */
async function difference(fleet: Fleet, model: string, request: TokenRequest): Promise<string | undefined> {
  const { name, path } = request
  const body = { model, ...request.body, max_tokens: 1 }
  const answer = await post(fleet.router.url, path, body)
  if (answer.status !== 200) return `${name}: the engine answers ${answer.status} ${answer.text}`
  const counted = usage.parse(JSON.parse(answer.text)).usage.prompt_tokens
  try {
    const { promptTokens, exact } = await explain(fleet.router, path, body)
    if (!exact) return `${name}: the router estimates`
    return promptTokens === counted ? undefined : `${name}: router ${promptTokens}, engine ${counted}`
  } catch (error) {
    return `${name}: ${error instanceof Error ? error.message : error}`
  }
}

async function sameCounts(fleet: Fleet, model: string, requests: readonly TokenRequest[]): Promise<string> {
  const differences: string[] = []
  for (const request of requests) {
    const found = await difference(fleet, model, request)
    if (found !== undefined) differences.push(found)
  }
  assert.equal(
    differences.length,
    0,
    `${differences.length} of ${requests.length}:\n${differences.join('\n')}`,
  )
  return `${requests.length} requests`
}

export const tokenCases: readonly FleetCase[] = [
  {
    name: "the router's prompt tokens are usage.prompt_tokens of vLLM",
    run: fleet => sameCounts(fleet, VLLM_MODEL, [...plainRequests, ...vllmRequests]),
  },
  {
    name: "the router's prompt tokens are usage.prompt_tokens of llama.cpp",
    run: fleet => sameCounts(fleet, LLAMACPP_MODEL, plainRequests),
  },
]
