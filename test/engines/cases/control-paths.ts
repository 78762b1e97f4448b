/** Engine-control paths: open at the engine, closed at the router's public port. */
import assert from 'node:assert/strict'
import { type Fleet, type FleetCase, post, requestRaw } from '../fleet.js'

/** Paths that a vLLM in development mode or llama.cpp has, besides the API's own. */
const closed = [
  ['POST', '/reset_prefix_cache'],
  ['POST', '/sleep'],
  ['POST', '/sleep?level=1'],
  ['POST', '/wake_up'],
  ['POST', '/collective_rpc'],
  ['GET', '/server_info'],
  ['GET', '/metrics'],
  ['GET', '/slots'],
  ['POST', '/v1/load_lora_adapter'],
  ['POST', '/v1/unload_lora_adapter'],
] as const

/** The same, written so that a web framework may come to see one of them. */
const detours = [
  ['POST', '//reset_prefix_cache'],
  ['POST', '/%72eset_prefix_cache'],
  ['POST', '/v1/../reset_prefix_cache'],
  ['POST', '/v1/models/../../sleep'],
  ['POST', '/v1/chat/completions/../../../sleep'],
  ['POST', '/v1/responses/..%2f..%2fsleep'],
] as const

async function openAtTheEngine({ engines }: Fleet): Promise<undefined> {
  const answer = await post(engines.vllm[0].url, '/reset_prefix_cache', '')
  assert.equal(answer.status, 200, 'or the next case proves nothing')
  return undefined
}

async function closedAtTheRouter({ router }: Fleet): Promise<string> {
  for (const [method, path] of closed) {
    const answer = await requestRaw(router.url, method, path)
    assert.equal(answer.pod, null, `${method} ${path} reached a pod`)
    assert.equal(answer.status, 404, `${method} ${path}: ${answer.text}`)
    assert.match(answer.text, /"path_not_found"/, `${method} ${path}`)
  }
  return `${closed.length} paths`
}

async function detoursAreClosed({ router }: Fleet): Promise<string> {
  for (const [method, path] of detours) {
    const answer = await requestRaw(router.url, method, path)
    assert.equal(answer.pod, null, `${method} ${path} reached a pod`)
    assert.ok(
      answer.status >= 400 && answer.status < 500,
      `${method} ${path}: ${answer.status} ${answer.text}`,
    )
  }
  return `${detours.length} paths`
}

export const controlPathCases: readonly FleetCase[] = [
  { name: 'an engine has its control paths open', run: openAtTheEngine },
  { name: 'engine-control paths are 404 at the public port', run: closedAtTheRouter },
  { name: 'detours to engine-control paths reach no pod', run: detoursAreClosed },
]
