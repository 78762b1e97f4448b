/** Engine-control paths: open at the engine, closed at the router's public port. */
import assert from 'node:assert/strict'
import { type Fleet, type FleetCase, post } from '../fleet.js'

/** Methods and paths that a vLLM in development mode really has, and detours to them. */
const closed = [
  ['POST', '/reset_prefix_cache'],
  ['POST', '/sleep'],
  ['POST', '/sleep?level=1'],
  ['POST', '/wake_up'],
  ['POST', '/collective_rpc'],
  ['GET', '/server_info'],
  ['POST', '/v1/load_lora_adapter'],
  ['POST', '/v1/unload_lora_adapter'],
  ['GET', '/metrics'],
  ['POST', '//reset_prefix_cache'],
  ['POST', '/v1/../reset_prefix_cache'],
  ['POST', '/%72eset_prefix_cache'],
  ['POST', '/v1/models/../../sleep'],
] as const

async function openAtTheEngine({ engines }: Fleet): Promise<undefined> {
  const answer = await post(engines.vllm[0].url, '/reset_prefix_cache', '')
  assert.equal(answer.status, 200, 'or the next case proves nothing')
  return undefined
}

async function closedAtTheRouter({ router }: Fleet): Promise<string> {
  for (const [method, path] of closed) {
    const { status, pod, code } = await rawRequest(router.url, method, path)
    assert.equal(status, 404, `${method} ${path}`)
    assert.equal(pod, undefined, `${method} ${path} reached the pod ${pod}`)
    assert.equal(code, 'path_not_found', `${method} ${path}`)
  }
  return `${closed.length} paths`
}

export const controlPathCases: readonly FleetCase[] = [
  { name: 'an engine has its control paths open', run: openAtTheEngine },
  { name: 'engine-control paths are 404 at the public port', run: closedAtTheRouter },
]
