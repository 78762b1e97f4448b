/**
 * Random faults on random pods under random requests, several at once, some of whose clients leave: whatever happens, each
 * client gets the right text whole, or a beginning of it with an error event or a cut, or an error that says so; and in the
 * end nothing is left of any request.
 */
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { errorOf } from '../router-kit.js'
import { contentOf, pathOf, said } from './ask.js'
import { type Connector, chat, completion, enginesOf, type Fleet, settled, sharedFleet } from './kit.js'
import { afflict, deadlines, FAULTS, faultNames } from './matrix.js'

/** Far above all deadlines of all tries, and far below the time-out of a request. */
const TOO_LATE_MS = 90_000

const request = fc.record({
  isChat: fc.boolean(),
  stream: fc.boolean(),
  tokens: fc.integer({ min: 1, max: 40 }),
  several: fc.boolean(),
  /** Milliseconds after which its client leaves. */
  leavesAfter: fc.option(fc.integer({ min: 0, max: 400 }), { freq: 1 }),
})
type Request = typeof request extends fc.Arbitrary<infer R> ? R : never

/** What happens before a batch of requests is sent: faults of engines, by their place in the fleet. */
const turn = fc.record({
  faults: fc.array(fc.record({ at: fc.nat({ max: 3 }), fault: fc.constantFrom(...faultNames) }), {
    maxLength: 4,
  }),
  requests: fc.array(request, { minLength: 1, maxLength: 4 }),
})

function bodyOf({ isChat, stream, tokens, several }: Request): Record<string, unknown> {
  const fields = { stream, max_tokens: tokens, ...(several && { n: 2 }) }
  return isChat ? chat(fields) : completion(fields)
}

interface Seen {
  readonly status: number
  readonly pod: string | null
  readonly text: string
  readonly isCut: boolean
}

/** Sends, and reads as much as comes; undefined: the client has left. */
async function seen(url: string, body: object, leavesAfter: number | null): Promise<Seen | undefined> {
  const client = new AbortController()
  const timer = leavesAfter === null ? undefined : setTimeout(() => client.abort(), leavesAfter)
  let status = 0
  let pod: string | null = null
  let text = ''
  let isCut = false
  try {
    const answer = await fetch(`${url}${pathOf(body)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: client.signal,
    })
    status = answer.status
    pod = answer.headers.get('x-phyllo-pod')
    const decoder = new TextDecoder()
    for await (const piece of answer.body ?? []) text += decoder.decode(piece, { stream: true })
  } catch {
    isCut = true
  } finally {
    clearTimeout(timer)
  }
  return client.signal.aborted ? undefined : { status, pod, text, isCut }
}

/** Why the client should not have got that; undefined: it may. */
function wrong({ status, text, isCut }: Seen, expected: string, stream: boolean): string | undefined {
  // A pod's garbage is passed on: nobody reads what is relayed.
  if (text.startsWith('\u0001')) return undefined
  if (status === 0) return 'a connection that was cut before any answer'
  if (status === 429 || status === 500 || status === 503) return text === '' ? 'an empty error' : undefined
  if (status === 502 || status === 504) {
    return /^(pod_|step_timeout)/.test(errorOf(text).code) ? undefined : `an odd error: ${text}`
  }
  if (status !== 200) return `status ${status}`
  if (!stream) {
    if (isCut) return undefined
    const content = contentOf({ status, text, json: JSON.parse(text), headers: new Headers() }, false)
    return content === expected ? undefined : `'${content}' for '${expected}'`
  }
  if (isCut) return 'a stream that was cut without an error event'
  const content = contentOf(
    { status, text: text.replace(/event: error\n.*$/s, ''), json: null, headers: new Headers() },
    true,
  )
  const isBroken = /\n\nevent: error\ndata: \{"error"[^\n]*\}\n\n$/.test(text)
  if (isBroken)
    return expected.startsWith(content) ? undefined : `'${content}' for the beginning of '${expected}'`
  if (!text.endsWith('data: [DONE]\n\n')) return `a stream without its end: …${text.slice(-200)}`
  return content === expected ? undefined : `'${content}' for '${expected}'`
}

async function run(
  t: ExecutionContext,
  fleet: Fleet,
  { faults, requests }: typeof turn extends fc.Arbitrary<infer T> ? T : never,
) {
  const bodies = requests.map(bodyOf)
  const expected = await Promise.all(
    bodies.map(async body => (await said(fleet.alone.url, body)).texts[0] ?? ''),
  )
  const engines = enginesOf(fleet)
  // One fault a pod: of two, the second would be taken back with the first.
  const byEngine = new Map(faults.map(({ at, fault }) => [at, fault]))
  const undo: (() => Promise<void>)[] = []
  for (const [at, fault] of byEngine) {
    const engine = engines[at]
    if (engine !== undefined) undo.push(await afflict(engine, fault))
  }
  const started = performance.now()
  const answers = await Promise.all(
    bodies.map((body, i) => seen(fleet.router.url, body, requests[i]?.leavesAfter ?? null)),
  )
  for (const each of undo) await each()
  const elapsed = performance.now() - started
  const what = JSON.stringify([...byEngine].map(([at, fault]) => [at, FAULTS[fault]]))
  t.true(elapsed < TOO_LATE_MS, `${elapsed} ms with ${what}`)
  answers.forEach((answer, i) => {
    const fault = answer && wrong(answer, expected[i] ?? '', requests[i]?.stream === true)
    t.is(fault, undefined, `${what}: ${JSON.stringify(requests[i])}: ${JSON.stringify(answer)}`)
  })
  await settled(fleet)
}

const connectors: readonly Connector[] = ['nixl', 'sglang', 'p2p-nccl', 'mooncake', 'generic']

for (const connector of connectors) {
  const shared = sharedFleet({
    connector,
    // For several answers to a prompt, which SGLang does not hand off.
    whole: connector === 'sglang',
    execute: { ...deadlines, prefillTimeoutMs: 1_000, firstByteTimeoutMs: 1_000, answerTimeoutMs: 1_000 },
    file: { timeouts: { idleMs: 1_000 } },
    engines: { kvTimeout: 4 },
  })
  test.serial(`${connector}: random faults`, async t => {
    const fleet = await shared()
    await fc.assert(
      fc.asyncProperty(turn, each => run(t, fleet, each)),
      { numRuns: 10, endOnFailure: true },
    )
    // And then it serves as ever.
    const body = chat()
    t.deepEqual((await said(fleet.router.url, body)).texts, (await said(fleet.alone.url, body)).texts)
  })
}
