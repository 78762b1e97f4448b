/** What all prefill/decode workflows can be told, and the parts that they share. */
import { z } from 'zod'
import { type HandOffProtocol, handOffRefusal } from '../../hand-off/refusals.js'
import { resumeOption, resumePolicy } from '../../resume/options.js'
import type { Choice, Step, StepContext, Workflow } from '../../workflow.js'
import type { WorkflowOptions } from '../../workflow-builder.js'
import { AdaptiveChoice } from './adaptive.js'
import { byThreshold, SHORT, type WholeWay, wholeOn } from './short-way.js'

/** A name of a profile or a workflow. */
const name = z.string().min(1)

const common = {
  prefill: name
    .default('prefill')
    .describe('Profile that selects the pod that computes the prompt. Its filter, score and pick count.'),
  decode: name
    .default('decode')
    .describe('Profile that selects the pod that answers. Its filter, score and pick count.'),
  // As for `single`: a request that fails on three in a row is likelier the cause than they are.
  attempts: z.int().min(1).max(8).default(3).describe('Most pods tried for each step, the first included.'),
  // A prompt of 128,000 tokens takes an H100 with an 8B model some 10 s, and two such may wait before it. A pod that is
  // dead but connected is given up after as long.
  prefillTimeoutMs: z
    .int()
    .min(1)
    .max(3_600_000)
    .default(60_000)
    .describe('For the prefill to answer; then the next pod has its turn. In milliseconds.'),
  // Blocks come over in a second at most, and the first token after them. Below the 30 s that vLLM holds blocks for: a
  // pod that wakes up after that must not find its request still there.
  firstByteTimeoutMs: z
    .int()
    .min(1)
    .max(3_600_000)
    .default(20_000)
    .describe("From sending to a stream's first byte, once the prompt is computed. In milliseconds."),
  // As timeouts.firstByteMs: an answer that comes whole takes minutes where it is long, and nothing tells a pod that
  // writes it from one that hangs.
  answerTimeoutMs: z
    .int()
    .min(1)
    .max(3_600_000)
    .default(600_000)
    .describe(
      'From sending to the answer, once the prompt is computed, of a request that does not stream. In milliseconds.',
    ),
  resume: resumeOption,
  fallback: name
    .optional()
    .describe(
      'Workflow that serves requests while a step has no pod to go to, and those that cannot be split. Default: none while a step has no pod, they are answered 503; what cannot be split goes to a pod that serves whole requests.',
    ),
}

/** For protocols whose decode pods also serve whole requests. */
export const choosing = z.object({
  ...common,
  fallback: name
    .optional()
    .describe(
      'Workflow that serves requests while a step has no pod to go to, and those that cannot be split. Default: a decode pod serves them whole; while there is none either, they are answered 503.',
    ),
  // Below this a prefill disturbs those that decode by less than a step of 256 tokens, some 10 ms, and the way over two
  // pods costs a round trip and a transfer of the same order.
  threshold: z
    .union([z.int().min(0).max(10_000_000), z.literal('adaptive')])
    .default(SHORT)
    .describe(
      'Prompt tokens that the decode pod would have to compute itself up to which the request goes straight to it, in tokens; `adaptive`: whichever costs less time, by what is measured: for all requests of the model where the decode profile has the filter `decode-apart`, else for each.',
    ),
})
export type ChoosingOptions = z.output<typeof choosing>

/** For protocols whose decode pods serve nothing else. */
export const always = z.object(common)
export type PairOptions = z.output<typeof always>

/** Makes a workflow by name, with its default options. */
export type ResolveWorkflow = (name: string) => Workflow

/** The path of the engine's own API that SGLang hands off. */
const GENERATE = '/generate'

/** Why a request can't be split in two. */
export const unfitFor =
  (protocol: HandOffProtocol) =>
  (ctx: StepContext): string | undefined => {
    const { request } = ctx
    if (ctx.pinnedTo !== '') return `the response '${ctx.pinnedTo}' is held by one pod`
    if (ctx.body.length === 0) return 'a request without a body has no prompt'
    if (request.kind === 'other' && request.path !== GENERATE) return 'the path is none that generates text'
    return handOffRefusal(protocol, ctx, request.kind)
  }

/**
 * How a workflow ends whose decode pods serve nothing but their step: what can't be split goes to another pod of the
 * model, of role mixed.
 */
export const pairEnd = (
  protocol: HandOffProtocol,
  options: PairOptions,
  resolve: ResolveWorkflow,
): WorkflowOptions => ({
  unfit: unfitFor(protocol),
  whole: wholeOn(wholeWay(options)),
  resume: resumePolicy(options.resume),
  fallback: fallbackOf(options, resolve),
})

/** What a workflow chooses by, and what its decode step learns for it. */
interface Chooser {
  readonly by: Pick<Choice, 'why' | 'whyNot'>
  readonly learn?: Step['learn']
}

/**
 * How a workflow ends whose decode pods serve whole requests too: they get what is short or mostly cached, what can't be
 * split, and what finds no prefill pod. `learn`: for the decode step.
 */
export function choosingEnd(
  protocol: HandOffProtocol,
  options: ChoosingOptions,
  resolve: ResolveWorkflow,
): { readonly learn: Step['learn']; readonly end: WorkflowOptions } {
  const { by, learn } = chooserFor(options)
  const direct = wholeOn(wholeWay(options))
  const end = {
    choice: { step: 'decode', otherwise: direct, why: by.why, whyNot: by.whyNot },
    unfit: unfitFor(protocol),
    whole: direct,
    resume: resumePolicy(options.resume),
    fallback: fallbackOf(options, resolve, direct),
  }
  return { learn, end }
}

/** Short and mostly cached prompts go straight to the pod that decodes; or those for which that is cheaper. */
function chooserFor({ threshold }: ChoosingOptions): Chooser {
  if (threshold === 'adaptive') {
    const by = new AdaptiveChoice()
    return { by, learn: (tokens, ms) => by.handOver.learn(tokens, ms) }
  }
  return { by: { why: byThreshold(threshold) } }
}

/** One pod has the time of both steps. */
const wholeWay = (options: PairOptions): WholeWay => ({
  profile: options.decode,
  attempts: options.attempts,
  deadlineMs: options.prefillTimeoutMs + options.firstByteTimeoutMs,
  wholeDeadlineMs: options.prefillTimeoutMs + options.answerTimeoutMs,
})

/** The workflow that serves what has no pod; `otherwise` where none is named. */
function fallbackOf(
  { fallback }: PairOptions,
  resolve: ResolveWorkflow,
  otherwise?: Workflow,
): Workflow | undefined {
  return fallback === undefined ? otherwise : resolve(fallback)
}
