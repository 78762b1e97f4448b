/** The router's count of prompt tokens is the engine's, request by request. */
import assert from 'node:assert/strict'
import { z } from 'zod'
import { VLLM_MODEL } from '../engine.js'
import { LLAMACPP_MODEL } from '../engines.js'
import { explain } from '../explain.js'
import { type Fleet, type FleetCase, post } from '../fleet.js'
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

interface Counts {
  readonly name: string
  readonly router: number
  readonly engine: number
  /** The router takes its count for the model's own; otherwise it says that it is an estimate. */
  readonly exact: boolean
}

async function counts(fleet: Fleet, model: string, requests: readonly TokenRequest[]): Promise<Counts[]> {
  const all: Counts[] = []
  for (const request of requests) all.push(await countsOf(fleet, model, request))
  return all
}

async function countsOf(fleet: Fleet, model: string, { name, path, body }: TokenRequest): Promise<Counts> {
  const limit = path === '/v1/responses' ? { max_output_tokens: 1 } : { max_tokens: 1 }
  const full = { model, ...body, ...limit }
  const answer = await post(fleet.router.url, path, full)
  assert.equal(answer.status, 200, `${name}: ${answer.text}`)
  const { promptTokens, exact } = await explain(fleet.router, path, full)
  return { name, router: promptTokens, engine: promptTokensOf(answer.text), exact }
}

function promptTokensOf(answer: string): number {
  const { prompt_tokens, input_tokens = 0, cache_read_input_tokens } = usage.parse(JSON.parse(answer)).usage
  // OpenAI counts cached tokens in, Anthropic beside.
  return prompt_tokens ?? input_tokens + (cache_read_input_tokens ?? 0)
}

const differ = ({ router, engine, exact }: Counts): boolean => !exact || router !== engine

async function vllmCounts(fleet: Fleet): Promise<string> {
  const all = await counts(fleet, VLLM_MODEL, [...plainRequests, ...vllmRequests])
  assert.deepEqual(all.filter(differ), [])
  return `${all.length} requests`
}

/** The router may estimate here, but must then say so: what it calls exact has to be. */
async function otherApiCounts(fleet: Fleet): Promise<string> {
  const all = await counts(fleet, VLLM_MODEL, otherApiRequests)
  assert.deepEqual(
    all.filter(found => found.exact && differ(found)),
    [],
  )
  return `${all.length} requests, ${all.filter(({ exact }) => exact).length} counted, the others estimated`
}

async function llamacppCounts(fleet: Fleet): Promise<string> {
  const all = await counts(fleet, LLAMACPP_MODEL, plainRequests)
  const departing = all.filter(differ)
  // One that has become equal fails as well: then the list is out of date.
  assert.deepEqual(
    departing.map(({ name }) => name).sort(),
    [...llamacppDeparts].sort(),
    JSON.stringify(departing),
  )
  return `${all.length} requests, but for ${departing.length} where llama.cpp departs from the model's tokenizer`
}

export const tokenCases: readonly FleetCase[] = [
  { name: "the router's prompt tokens are usage.prompt_tokens of vLLM", run: vllmCounts },
  { name: "the router's prompt tokens are usage.prompt_tokens of llama.cpp", run: llamacppCounts },
  { name: 'for /v1/responses and /v1/messages too, or said to be an estimate', run: otherApiCounts },
]
