/** The router's count of prompt tokens is the engine's, request by request. */
import assert from 'node:assert/strict'
import { z } from 'zod'
import { LLAMACPP_MODEL, VLLM_MODEL } from '../engines.js'
import { type Fleet, type FleetCase, post } from '../fleet.js'
import { explain } from '../router.js'
import { otherApiRequests, plainRequests, type TokenRequest, vllmRequests } from '../token-requests.js'

/** Chats and completions have the first, responses and Anthropic's messages the other two. */
const usage = z.object({
  usage: z.object({
    prompt_tokens: z.number().optional(),
    input_tokens: z.number().optional(),
    cache_read_input_tokens: z.number().nullish(),
  }),
})

/**
 * Where llama.cpp itself departs from the model's tokenizer and template as Hugging Face (and so vLLM, SGLang and the
 * router) have them. It costs nothing but precision: llama.cpp's cache is per slot, and its pods tell no blocks.
 */
const llamacppDeparts: readonly string[] = [
  // It has no Unicode normalization: letters stay decomposed.
  'decomposed letters, which are composed first',
  // A function without a description is given an empty one.
  'two tools and a system prompt',
  // 1e3 in a call's arguments becomes 1000, and 1000.0 in Python.
  'two tool calls in one message',
]

interface Difference {
  readonly name: string
  readonly how: string
}

/** How the router's count departs from the engine's; undefined if it does not. */
async function difference(fleet: Fleet, model: string, request: TokenRequest): Promise<string | undefined> {
  const { path } = request
  const limit = path === '/v1/responses' ? { max_output_tokens: 1 } : { max_tokens: 1 }
  const body = { model, ...request.body, ...limit }
  const answer = await post(fleet.router.url, path, body)
  if (answer.status !== 200) return `the engine answers ${answer.status} ${answer.text}`
  const counted = promptTokensOf(answer.text)
  try {
    const { promptTokens, exact } = await explain(fleet.router, path, body)
    if (!exact) return `the router estimates (${promptTokens}, engine ${counted})`
    return promptTokens === counted ? undefined : `router ${promptTokens}, engine ${counted}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function promptTokensOf(answer: string): number {
  const { prompt_tokens, input_tokens = 0, cache_read_input_tokens } = usage.parse(JSON.parse(answer)).usage
  // OpenAI counts cached tokens in, Anthropic beside.
  return prompt_tokens ?? input_tokens + (cache_read_input_tokens ?? 0)
}

async function differences(
  fleet: Fleet,
  model: string,
  requests: readonly TokenRequest[],
): Promise<Difference[]> {
  const found: Difference[] = []
  for (const request of requests) {
    const how = await difference(fleet, model, request)
    if (how !== undefined) found.push({ name: request.name, how })
  }
  return found
}

async function vllmCounts(fleet: Fleet, requests: readonly TokenRequest[]): Promise<string> {
  assert.deepEqual(await differences(fleet, VLLM_MODEL, requests), [])
  return `${requests.length} requests`
}

async function llamacppCounts(fleet: Fleet): Promise<string> {
  const found = await differences(fleet, LLAMACPP_MODEL, plainRequests)
  // One that has become equal fails as well: then the list is out of date.
  assert.deepEqual(found.map(({ name }) => name).sort(), [...llamacppDeparts].sort(), JSON.stringify(found))
  return `${plainRequests.length} requests, but for ${found.length} where llama.cpp departs from the tokenizer`
}

export const tokenCases: readonly FleetCase[] = [
  {
    name: "the router's prompt tokens are usage.prompt_tokens of vLLM",
    run: fleet => vllmCounts(fleet, [...plainRequests, ...vllmRequests]),
  },
  {
    name: "the router's prompt tokens are vLLM's for /v1/responses and /v1/messages",
    run: fleet => vllmCounts(fleet, otherApiRequests),
  },
  { name: "the router's prompt tokens are usage.prompt_tokens of llama.cpp", run: llamacppCounts },
]
