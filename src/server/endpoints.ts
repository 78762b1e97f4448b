/**
 * The public port's paths. What is not listed here and not named under `passthrough` is 404, so a pod is reached only
 * on purpose.
 */
import type { BodyKind } from '../data/native.js'
import { isControlPath } from './control-paths.js'

/** What to do with a path. */
export type Endpoint =
  /** A body in, one pod picked, its answer out. */
  | { readonly action: 'infer'; readonly kind: BodyKind; readonly methods: readonly string[] }
  /** Answered by the router itself, from what the control plane last heard. */
  | { readonly action: 'models'; readonly methods: readonly string[] }
  | { readonly action: 'model'; readonly name: string; readonly methods: readonly string[] }
  /** Goes to the pod that has that response's state. */
  | { readonly action: 'response'; readonly id: string; readonly methods: readonly string[] }
  /** Any method and body; to the pods of the model that the body names, if it names one. */
  | { readonly action: 'passthrough'; readonly methods: null }

const post = ['POST'] as const
const get = ['GET', 'HEAD'] as const

const fixed: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': { action: 'infer', kind: 'chat', methods: post },
  '/v1/completions': { action: 'infer', kind: 'completions', methods: post },
  '/v1/embeddings': { action: 'infer', kind: 'embeddings', methods: post },
  '/v1/responses': { action: 'infer', kind: 'responses', methods: post },
  '/v1/messages': { action: 'infer', kind: 'messages', methods: post },
  '/v1/models': { action: 'models', methods: get },
}

const responsePath = /^\/v1\/responses\/([^/]+)(?:\/(?:cancel|input_items))?$/
const modelPath = /^\/v1\/models\/(.+)$/

export class Endpoints {
  readonly #fixed: ReadonlyMap<string, Endpoint>

  constructor(passthrough: readonly string[]) {
    const open = passthrough.filter(path => !isControlPath(path))
    const named = open.map((path): [string, Endpoint] => [path, { action: 'passthrough', methods: null }])
    this.#fixed = new Map([...named, ...Object.entries(fixed)])
  }

  /** Undefined: no such path. */
  match(path: string): Endpoint | undefined {
    return this.#fixed.get(path) ?? matchPattern(path)
  }
}

function matchPattern(path: string): Endpoint | undefined {
  const response = responsePath.exec(path)?.[1]
  if (response !== undefined)
    return { action: 'response', id: decode(response), methods: ['GET', 'POST', 'DELETE'] }
  const model = modelPath.exec(path)?.[1]
  if (model !== undefined) return { action: 'model', name: decode(model), methods: get }
  return undefined
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
