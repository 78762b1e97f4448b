/** What can go wrong with a pod, and what the client gets of it: one table for all workflows, with their exceptions. */
import type { ExecutionContext } from 'ava'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import { type Answer, ask, contentOf, said } from './ask.js'
import { chat, enginesOf, type Fleet, heal, type Role, settled } from './kit.js'

/** Deadlines of a step: long enough for a healthy pod on a busy machine, short enough to wait for. */
export const DEADLINE_MS = 2_000
export const deadlines = {
  prefillTimeoutMs: DEADLINE_MS,
  firstByteTimeoutMs: DEADLINE_MS,
  answerTimeoutMs: DEADLINE_MS,
}
/** Far above any sum of deadlines, and far below the time-out of a request. */
const TOO_LATE_MS = 60_000

export const FAULTS = {
  'connect refused': 'closed',
  '500': 'error=500',
  '503': 'error=503',
  '429': 'error=429',
  hang: 'hang',
  'reset before headers': 'refuse',
  'reset mid-body': 'die=3',
  'stall mid-body': 'stall=3',
  'garbage JSON': 'garbage',
  'slow head': 'slow-headers=300',
  'slow body': 'slow-body=300',
} as const
export type FaultName = keyof typeof FAULTS
export const faultNames = Object.keys(FAULTS).filter((name): name is FaultName => name in FAULTS)

/**
 * `whole`: the answer, as if nothing had happened. `passed`: the pod's own answer with its status. `broken`: what came
 * until then, then an SSE error event, or for an answer that does not stream a connection that is cut.
 */
export type Result = 'whole' | 'passed' | 'broken'

/** What the client gets when one pod of that role has the fault and the other is well. */
export function expected(role: Role, fault: FaultName): Result {
  if (fault === '429') return 'passed'
  if (role === 'prefill') return 'whole'
  // Its beginning is the client's by then, and what no pod says is not the router's to say.
  if (fault === 'reset mid-body' || fault === 'stall mid-body') return 'broken'
  // Nobody reads an answer before it is passed on.
  return fault === 'garbage JSON' ? 'passed' : 'whole'
}

/** Sets the fault; answers what takes it back. */
export async function afflict(engine: RunningEngine, fault: FaultName): Promise<() => Promise<void>> {
  const text = FAULTS[fault]
  if (text === 'closed') {
    await engine.setListening(false)
    return () => engine.setListening(true)
  }
  engine.setFault(text)
  return async () => engine.setFault(null)
}

/** What the client got: an answer, or as much as came before its connection was cut. */
async function attempt(url: string, body: object): Promise<Answer | 'cut'> {
  try {
    return await ask(url, body)
  } catch {
    return 'cut'
  }
}

/** One cell of the matrix: the fault on the pod that is picked first, one request, and nothing left of it after. */
export async function cell(
  t: ExecutionContext,
  fleet: Fleet,
  { role, fault, stream, result }: { role: Role; fault: FaultName; stream: boolean; result: Result },
): Promise<void> {
  const [bad] = fleet[role]
  const body = chat({ stream, max_tokens: 24 })
  const text = (await said(fleet.alone.url, body)).texts[0] ?? ''
  const undo = await afflict(bad, fault)
  const started = performance.now()
  const answer = await attempt(fleet.router.url, body)
  const elapsed = performance.now() - started
  await undo()
  t.log(
    `${role}, ${fault}, ${stream ? 'stream' : 'whole'}: ${summary(answer)} after ${elapsed.toFixed(0)} ms`,
  )
  t.true(elapsed < TOO_LATE_MS, `${elapsed} ms`)
  judge(t, answer, {
    result,
    stream,
    text,
    pod: `${role}-0`,
    status: FAULTS[fault] === 'error=429' ? 429 : 200,
  })
  await settled(fleet)
}

interface Expected {
  readonly result: Result
  readonly stream: boolean
  readonly text: string
  readonly pod: string
  readonly status: number
}

function judge(
  t: ExecutionContext,
  answer: Answer | 'cut',
  { result, stream, text, pod, status }: Expected,
): void {
  if (answer === 'cut') {
    t.deepEqual([result, stream], ['broken', false])
    return
  }
  if (result === 'passed') {
    t.deepEqual([answer.status, answer.headers.get('x-phyllo-pod')], [status, pod], answer.text)
    return
  }
  t.is(answer.status, 200, answer.text)
  t.regex(answer.headers.get('x-phyllo-pod') ?? '', /^decode-/)
  const content = contentOf(answer, stream)
  if (result === 'whole') {
    t.is(content, text)
    return
  }
  t.true(
    stream && content !== '' && content !== text && text.startsWith(content),
    `'${content}' of '${text}'`,
  )
  t.regex(answer.text, /\n\nevent: error\ndata: \{"error":\{"message":"[^\n]*\n\n$/)
}

function summary(answer: Answer | 'cut'): string {
  if (answer === 'cut') return 'cut'
  const isBroken = answer.text.includes('event: error')
  return `${answer.status}${isBroken ? ', error event' : ''} of ${answer.headers.get('x-phyllo-pod')}`
}

/** All engines well again, and listening. */
export async function restore(fleet: Fleet): Promise<void> {
  await heal(fleet)
  await Promise.all(enginesOf(fleet).map(engine => engine.setListening(true).catch(() => undefined)))
}
