/** What the engine's HTTP tests share. */
import { readFileSync } from 'node:fs'
import type { ExecutionContext } from 'ava'
import { type RunningEngine, startEngine } from '#phyllo/simulation/engine/http.js'
import type { EngineOptionsInput } from '#phyllo/simulation/engine/options.js'

/** Fast enough that no test waits for the model. */
export const FAST = 500

/** An engine that ends with the test. */
export async function engineFor(
  t: ExecutionContext,
  options: EngineOptionsInput = {},
): Promise<RunningEngine> {
  const engine = await startEngine({ port: 0, model: 'tiny', speed: FAST, ...options })
  t.teardown(() => engine.close())
  return engine
}

export const capture = (name: string): string =>
  readFileSync(new URL(`../../../test/fixtures/captures/vllm-0.32.0/${name}`, import.meta.url), 'utf8')

export const captureJson = (name: string): unknown => JSON.parse(capture(name))

export const post = (
  engine: RunningEngine,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
) =>
  fetch(`${engine.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

export async function postJson(engine: RunningEngine, path: string, body: object | string): Promise<unknown> {
  const answer = await post(engine, path, body)
  const json: unknown = await answer.json()
  return json
}

/** A value's shape: keys in order, types at the leaves; of an array's elements those that differ. */
export function shape(value: unknown): unknown {
  if (Array.isArray(value)) {
    const shapes = value.map(entry => JSON.stringify(shape(entry)))
    return [...new Set(shapes)].map(text => JSON.parse(text))
  }
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, shape(entry)]))
}

/** The `data:` payloads of an event stream; `[DONE]` stays text. */
export const events = (text: string): unknown[] =>
  text
    .split('\n\n')
    .filter(block => block !== '')
    .map(block => {
      const data =
        block
          .split('\n')
          .find(line => line.startsWith('data: '))
          ?.slice(6) ?? ''
      const value: unknown = data === '[DONE]' ? data : JSON.parse(data)
      return value
    })

/** Names of named events, in order. */
export const eventNames = (text: string): string[] =>
  text.split('\n').flatMap(line => (line.startsWith('event: ') ? [line.slice(7)] : []))

/** Waits until `done` holds; fails the test's own time-out otherwise. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => setTimeout(resolve, 5))
}

/** Walks into a JSON value; undefined where the path ends. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null
        ? Object.getOwnPropertyDescriptor(inner, key)?.value
        : undefined,
    value,
  )
}
