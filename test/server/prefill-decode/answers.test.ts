/**
 * What a client asks for besides a text, through each workflow, streamed and not: the answer is that of one engine alone,
 * field for field, whichever way the request took; and it took two pods unless the protocol can't carry it.
 */
import { isDeepStrictEqual } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { z } from 'zod'
import { events } from '../../simulation/kit.js'
import { ask } from './ask.js'
import { type Api, type Feature, featureNames, featureOf } from './features.js'
import { type Connector, chat, completion, type Fleet, prompt, served, settled, sharedFleet } from './kit.js'

const connectors: readonly Connector[] = ['nixl', 'p2p-nccl', 'mooncake', 'sglang', 'generic']
const apis: readonly Api[] = ['chat', 'completions']

/** What differs between any two answers: names and times. */
const DRAWN = new Set(['id', 'created', 'created_at', 'item_id', 'call_id'])

const piece = z.looseObject({ choices: z.array(z.looseObject({ index: z.number() })) })

interface Told {
  readonly status: number
  readonly body: unknown
}

/** An answer without what is drawn for each. */
async function told(url: string, body: object): Promise<Told> {
  const { status, text, json } = await ask(url, body)
  const isStream = status === 200 && 'stream' in body && body.stream === true
  return { status, body: isStream ? byChoice(events(text)) : undrawn(json) }
}

function undrawn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(undrawn)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([name]) => !DRAWN.has(name))
  return Object.fromEntries(kept.map(([name, inner]) => [name, undrawn(inner)]))
}

/**
 * A stream's events, those of each choice in their order: whose turn it is at an engine is a matter of time. The
 * fingerprint is in the last event of all.
 */
function byChoice(all: readonly unknown[]): unknown {
  const choices = new Map<number, unknown[]>()
  const rest: unknown[] = []
  for (const event of all) {
    const parsed = piece.safeParse(event)
    const index = parsed.data?.choices[0]?.index
    const { system_fingerprint: _, ...own } = parsed.data ?? { choices: [] }
    if (index === undefined) rest.push(undrawn(event))
    else choices.set(index, [...(choices.get(index) ?? []), undrawn(own)])
  }
  return { choices: [...choices].sort(([a], [b]) => a - b), rest }
}

let requests = 0
/** Each with a cache of its own: prompts that begin alike would find each other's blocks where they took the same way. */
function requestOf(api: Api, given: object): Record<string, unknown> {
  const fields = { ...given, cache_salt: `request ${requests++}` }
  return api === 'chat' ? chat(fields) : completion(fields)
}

const prefills = ({ prefill }: Fleet): number => served(prefill[0]) + served(prefill[1])

/** One request to the engine that is alone, and to the fleet; `way`: engines that it takes. */
async function same(
  t: ExecutionContext,
  fleet: Fleet,
  body: Record<string, unknown>,
  way: 'split' | 'whole',
): Promise<void> {
  const before = prefills(fleet)
  const expected = await told(fleet.alone.url, body)
  const found = await told(fleet.router.url, body)
  const what = JSON.stringify({ ...body, messages: undefined, prompt: undefined })
  t.is(expected.status, 200, what)
  // The difference is shown where there is one: to look for it takes longer than the request did.
  if (!isDeepStrictEqual(found, expected)) t.deepEqual(found, expected, what)
  t.is(prefills(fleet) - before, way === 'split' ? 1 : 0, what)
}

const wayOf = (connector: Connector, asked: readonly Feature[]): 'split' | 'whole' =>
  asked.some(({ whole }) => whole?.includes(connector)) ? 'whole' : 'split'

const streamOptions = [
  undefined,
  { include_usage: true },
  { include_usage: true, continuous_usage_stats: true },
]

const fleets = connectors.map(connector => {
  const hasDecodeOnly = connector === 'sglang' || connector === 'p2p-nccl'
  // Equal seeds, so that sampled answers are comparable too.
  return [connector, sharedFleet({ connector, whole: hasDecodeOnly, engines: { seed: 9 } })] as const
})

for (const [connector, shared] of fleets) {
  for (const api of apis) {
    const names = featureNames.filter(name => [api, 'both'].includes(featureOf(name).api))

    test.serial(`${connector}, ${api}: ${names.join('; ')}`, async t => {
      const fleet = await shared()
      for (const [i, name] of names.entries()) {
        const feature = featureOf(name)
        const body = requestOf(api, feature.fields())
        const way = wayOf(connector, [feature])
        await same(t, fleet, body, way)
        if (feature.notStreamed) continue
        const stream_options = streamOptions[i % streamOptions.length]
        await same(t, fleet, { ...body, stream: true, stream_options }, way)
      }
      await settled(fleet)
    })

    const together = fc.record({
      asked: fc.uniqueArray(fc.constantFrom(...names), { minLength: 2, maxLength: 4 }),
      stream: fc.boolean(),
      stream_options: fc.constantFrom(...streamOptions),
    })
    test.serial(`${connector}, ${api}: any of these together`, async t => {
      const fleet = await shared()
      await fc.assert(
        fc.asyncProperty(together, async ({ asked, stream, stream_options }) => {
          const wanted = asked.map(featureOf).filter(({ notStreamed }) => !(stream && notStreamed))
          const fields = Object.assign({}, ...wanted.map(feature => feature.fields()))
          const body = requestOf(api, { ...fields, ...(stream && { stream, stream_options }) })
          await same(t, fleet, body, wayOfFields(connector, body))
        }),
        { numRuns: 12 },
      )
      await settled(fleet)
    })
  }
}

const otherApis: Readonly<Record<string, (input: string) => Record<string, unknown>>> = {
  '/v1/messages': content => ({ max_tokens: 9, messages: [{ role: 'user', content }] }),
  '/v1/responses': input => ({ max_output_tokens: 9, input }),
}

/** What another path answers: one value, or those of a stream's events. */
async function toldBy(url: string, path: string, body: object): Promise<unknown> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
  return { status: answer.status, said: undrawn(isStream ? events(text) : JSON.parse(text)) }
}

const calls = ({ prefill }: Fleet, path: string): number =>
  prefill.reduce((sum, engine) => sum + (engine.requests()[`POST ${path}`] ?? 0), 0)

for (const [connector, shared] of fleets) {
  for (const [path, bodyOf] of Object.entries(otherApis)) {
    test.serial(`${connector}: ${path}, streamed and not`, async t => {
      const fleet = await shared()
      const isWhole = connector === 'sglang' && path === '/v1/messages'
      // The prompt's own words: neither path has a field for a cache of its own on all engines.
      const body = { model: 'tiny', temperature: 0, ...bodyOf(prompt()) }
      for (const stream of [false, true]) {
        const before = calls(fleet, path)
        const expected = await toldBy(fleet.alone.url, path, { ...body, stream })
        t.like(expected, { status: 200 })
        t.deepEqual(await toldBy(fleet.router.url, path, { ...body, stream }), expected)
        t.is(calls(fleet, path) - before, isWhole ? 0 : 1)
      }
      await settled(fleet)
    })
  }
}

/** Of fields that came together, the last of each name counts; some mean something only together. */
function wayOfFields(connector: Connector, body: Record<string, unknown>): 'split' | 'whole' {
  const { n = 1, best_of, prompt, prompt_logprobs, echo, logprobs } = body
  if (prompt_logprobs !== undefined || (echo === true && logprobs !== undefined)) return 'whole'
  const isBatch = Array.isArray(prompt) && typeof prompt[0] !== 'number'
  const isOne = n === 1 && best_of === undefined && !isBatch
  if (connector === 'sglang') return n === 1 ? 'split' : 'whole'
  return isOne || connector === 'p2p-nccl' || connector === 'generic' ? 'split' : 'whole'
}
