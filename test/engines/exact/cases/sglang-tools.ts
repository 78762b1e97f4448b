/**
 * SGLang 0.5.23 gives its chat template each tool with a field `"defer_loading": null` behind those that were sent, five
 * tokens of Qwen's. The router can't know. It notices by the engine's own count, and goes by the text of such requests.
 */
import assert from 'node:assert/strict'
import { VLLM_MODEL } from '../../engine.js'
import { explain } from '../../explain.js'
import { weatherTool } from '../../token-requests.js'
import type { ExactCase, ExactFleet } from '../fleet.js'
import { type Measured, measure } from '../measure.js'
import type { TurnRequest } from '../thread.js'

const asking = (question: string, more: object = {}): TurnRequest => ({
  path: '/v1/chat/completions',
  body: { model: VLLM_MODEL, messages: [{ role: 'user', content: question }], max_tokens: 1, ...more },
})

async function ask(fleet: ExactFleet, request: TurnRequest): Promise<Measured> {
  const measured = await measure(fleet, request, fleet.kind)
  assert.ok(measured)
  return measured
}

async function tools(fleet: ExactFleet): Promise<string> {
  const request = asking('Weather in Oslo?', { tools: [weatherTool] })
  const first = await ask(fleet, request)
  assert.deepEqual([first.countedExactly, first.prompt - first.counted], [true, 5])
  // Three in a row that differ.
  let asked = 1
  while ((await ask(fleet, request)).countedExactly) assert.ok(++asked < 6, 'the router goes on counting')
  const { exact } = await explain(fleet.router, '/v1/chat/completions', asking('Hello?').body)
  assert.ok(exact, 'chats without tools are counted as before')
  return `the engine counts 5 tokens more, noticed after ${asked} requests; chats without tools are counted as before`
}

/** The last one before its router, which then no longer counts chats with tools. */
export const sglangToolCases: readonly ExactCase[] = [
  { name: "tools, which SGLang's template sees otherwise than they were sent", run: tools },
]
