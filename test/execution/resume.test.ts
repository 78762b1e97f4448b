import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { OUTCOME } from '#phyllo/data/native.js'
import { fieldIn } from '#phyllo/execution/hand-off/fault.js'
import { singleWorkflow } from '#phyllo/execution/workflows/single.js'
import { assertClean, type Pod, RecordingSink, startWorker, type Worker } from './kit.js'
import {
  ANSWER,
  type Asked,
  askFor,
  BREAK,
  eventsOf,
  type Heard,
  hear,
  type Kind,
  PIECES,
  PROMPT_TOKENS,
  talkingPod,
} from './kit-resume.js'

const KINDS: readonly Kind[] = ['chat', 'completions']
/** Requests at a time. */
const AT_ONCE = 50
/** So that tokens can be counted in every request. */
const COUNTED = { stream_options: { include_usage: true, continuous_usage_stats: true } }
const resuming = (attempts = 1, maxBytes = 1_048_576) => singleWorkflow({ resume: { attempts, maxBytes } })

async function ask(worker: Worker, asked: Asked, workflow = resuming(), sink = new RecordingSink()) {
  const path = asked.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'
  const record = await worker.run(sink, { kind: asked.kind, path, body: askFor(asked), workflow })
  return { record, sink, heard: hear(sink.text) }
}

const answerBytes = (asked: Asked, pod = 0): number =>
  Buffer.byteLength((eventsOf(JSON.parse(askFor(asked)), pod) ?? []).join(''))

const originsOf = (pods: readonly Pod[]): string[] => pods.map(({ origin }) => origin)

/** All events could be of one pod, and the usage is that of the whole answer. */
function isOneAnswer(
  t: ExecutionContext,
  { events, text, dones, errors }: Heard,

  asked: Asked,
): void {
  t.is(text, ANSWER)
  t.is(dones, 1)
  t.deepEqual(errors, [])
  t.is(new Set(events.map(event => fieldIn(event, 'id'))).size, 1)
  t.is(new Set(events.map(event => fieldIn(event, 'created'))).size, 1)
  const roles = events.filter(event => JSON.stringify(event).includes('"role"'))
  t.is(roles.length, asked.kind === 'chat' ? 1 : 0)
  const ends = events.filter(event => JSON.stringify(event).includes('"finish_reason":"'))
  t.is(ends.length, 1)
  if (!('stream_options' in (asked.fields ?? {}))) return
  t.like(fieldIn(events.at(-1), 'usage'), {
    prompt_tokens: PROMPT_TOKENS,
    completion_tokens: PIECES.length,
    total_tokens: PROMPT_TOKENS + PIECES.length,
  })
}

for (const kind of KINDS) {
  for (const fields of [undefined, COUNTED]) {
    // A completion has a limit, for which its tokens must be counted.
    if (kind === 'completions' && fields === undefined) continue
    test(`${kind}${fields ? ' with usage' : ''}: a pod that breaks off at any byte is gone on for on another`, async t => {
      const length = answerBytes({ kind, ...(fields && { fields }) })
      const breakAt = (_: number, request: unknown) => Number(fieldIn(request, 'break_at'))
      const pods = await Promise.all([talkingPod(t, 0, breakAt), talkingPod(t, 1, () => undefined)])
      const worker = startWorker(t, originsOf(pods))
      const breaksAt = async (at: number): Promise<void> => {
        const asked = { kind, fields: { ...fields, break_at: at } }
        const { record, heard, sink } = await ask(worker, asked)
        t.is(record.bytes, sink.body.length)
        if (record.outcome === 'ok') isOneAnswer(t, heard, asked)
        else t.deepEqual([heard.text, heard.errors.length, heard.dones], [ANSWER, 1, 0], 'all but the usage')
      }
      for (let at = 0; at <= length; at += AT_ONCE) {
        const some = Array.from({ length: Math.min(AT_ONCE, length + 1 - at) }, (_, i) => at + i)
        // With usage in every event streams are long, and most of their bytes alike.
        await Promise.all(some.filter(byte => fields === undefined || byte % 3 === 0).map(breaksAt))
      }
      t.deepEqual(
        [...new Set(worker.resumes)].sort(),
        fields ? ['resumed', 'unfit', 'whole'] : ['resumed', 'whole'],
      )
      t.is(
        worker.lane.outcomes.filter(({ outcome }) => outcome === OUTCOME.failed).length,
        fields ? Math.floor(length / 3) + 1 : length + 1,
      )
      await assertClean(t, worker)
    })
  }
}

/** Cuts at these places, which are parts of its length. */
const cutAt =
  (places: readonly number[]) =>
  (bytes: Buffer): Buffer[] => {
    const at = places.map(place => Math.floor(place * bytes.length)).sort((a, b) => a - b)
    return [...at, bytes.length].map((end, i) => bytes.subarray(at[i - 1] ?? 0, end))
  }

test('property: however pods cut and break off, the client hears the answer, or its beginning and an error', async t => {
  const place = fc.double({ min: 0, max: 1, noNaN: true })
  const arbitrary = fc.record({
    kind: fc.constantFrom(...KINDS),
    // Of the first and the second pod; the third is well.
    breaks: fc.tuple(fc.nat(2200), fc.nat(2200)),
    cuts: fc.array(place, { maxLength: 6 }),
    attempts: fc.integer({ min: 1, max: 2 }),
    ending: fc.constantFrom('\n', '\r\n', '\r'),
  })
  let given: { breaks: readonly number[]; cuts: readonly number[]; ending: string } = {
    breaks: [],
    cuts: [],
    ending: '\n',
  }
  const more = (events: string[]) => events.map(event => event.replaceAll('\n', given.ending))
  const cut = (bytes: Buffer) => cutAt(given.cuts)(bytes)
  const pods = await Promise.all(
    [0, 1, 2].map(pod => talkingPod(t, pod, length => below(given.breaks[pod], length), { cut, more })),
  )
  const worker = startWorker(t, originsOf(pods))
  const property = fc.asyncProperty(arbitrary, async ({ kind, attempts, ...rest }) => {
    given = rest
    const asked = { kind, fields: COUNTED }
    const sink = new RecordingSink()
    const path = kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'
    const record = await worker.run(sink, { kind, path, body: askFor(asked), workflow: resuming(attempts) })
    const heard = hear(sink.text.replaceAll('\r\n', '\n').replaceAll('\r', '\n'))
    if (record.outcome === 'ok') return isOneAnswer(t, heard, asked)
    t.true(ANSWER.startsWith(heard.text))
    t.deepEqual([heard.dones, heard.errors.length], [0, 1])
  })
  await fc.assert(property, { numRuns: 250 })
  await assertClean(t, worker)
})

const below = (at: number | undefined, length: number): number | undefined =>
  at !== undefined && at <= length ? at : undefined

test('the second pod gets the text so far, and what is left of the limits', async t => {
  const roleAndTwo = 3
  const pods = await Promise.all([
    talkingPod(t, 0, () => undefined, { more: events => [...events.slice(0, roleAndTwo), BREAK] }),
    talkingPod(t, 1, () => undefined),
  ])
  const worker = startWorker(t, originsOf(pods))
  const fields = { ...COUNTED, max_tokens: 4, min_tokens: 1, max_completion_tokens: null, unknown: 1e3 }
  const { heard } = await ask(worker, { kind: 'chat', fields })
  t.is(heard.text, PIECES.slice(0, 4).join(''))
  t.like(heard.events.at(-1), { usage: { prompt_tokens: PROMPT_TOKENS, completion_tokens: 4 } })
  t.deepEqual(JSON.parse(String(pods[1]?.requests[0]?.body)), {
    ...JSON.parse(askFor({ kind: 'chat', fields })),
    messages: [
      { role: 'user', content: 'Tell me' },
      { role: 'assistant', content: PIECES.slice(0, 2).join('') },
    ],
    continue_final_message: true,
    add_generation_prompt: false,
    max_tokens: 2,
    min_tokens: 0,
  })
  t.deepEqual(worker.retries, ['pod_closed_early'])
  t.deepEqual(worker.picks, ['pod-0', 'pod-1'])
  t.deepEqual(worker.resumes, ['resumed'])
  await assertClean(t, worker)
})
