/**
 * What a workflow may be in the configuration file, under `workflows:`. Types, checks, defaults, docs and the JSON Schema
 * for editors come from here; what needs more than one field is in faults.ts.
 */
import { z } from 'zod'
import { STEP_ROLES } from '../../../data/pod-role.js'
import { resumeOption } from '../../resume/options.js'
import { hedgeOptions } from '../hedge.js'
import { POINTER, request, word } from './request-schema.js'

const MAX_MS = 3_600_000

/** What the language lacks, and people look for. */
const lacking = (message: string, fix: string) =>
  z
    .unknown()
    .optional()
    .superRefine((given, ctx) => {
      if (given !== undefined) ctx.addIssue({ code: 'custom', message, params: { fix } })
    })
    .describe(`Not in YAML: ${fix}.`)

const stepFields = {
  role: z
    .enum(STEP_ROLES)
    .optional()
    .describe('Its pods are those that take this step. Default: those that serve whole requests.'),
  model: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Its pods are those of this model, which the request then names. Default: the model asked for.',
    ),
  labels: z
    .record(z.string().min(1), z.string())
    .default({})
    .describe('Of these pods, those with all these labels. Default: all.'),
  profile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Profile that selects its pod: its filter, score and pick count. Default: that of the request.',
    ),
  output: z
    .enum(['relay', 'keep', 'drain'])
    .optional()
    .describe(
      'What becomes of the answer: relay sends it to the client, keep reads what later steps need, drain reads it away. ' +
        'Default: keep where `keep` names something; else relay in the last stage, and drain before it.',
    ),
  keep: z
    .record(
      word('Name of the value.'),
      z
        .string()
        .regex(POINTER, { error: 'expected a JSON pointer, as in /kv_transfer_params or /choices/0/text' }),
    )
    .default({})
    .describe(
      'What is kept of the answer for later steps: a JSON pointer to it, through lists by number; byte for byte. An answer ' +
        'without it, or with null, is a failure of the pod.',
    ),
  timeoutMs: z
    .int()
    .min(0)
    .max(MAX_MS)
    .default(0)
    .describe(
      'From sending to the end of the answer, of a stream that is relayed to its first byte; then the next pod has its ' +
        'turn. 0: the timeouts of all requests alone. In milliseconds.',
    ),
  answerTimeoutMs: z
    .int()
    .min(0)
    .max(MAX_MS)
    .default(0)
    .describe(
      'The same for an answer that is relayed and comes whole, of a request that does not stream: as long as it takes to ' +
        'write it. 0: the timeouts of all requests alone. In milliseconds.',
    ),
  // As for `single`.
  attempts: z.int().min(1).max(8).default(3).describe('Most pods tried, the first included.'),
  restartAt: word(
    'Step at which the workflow begins again when this one has failed, for hand-offs that can be taken once. Default: itself.',
  ).optional(),
  optional: z
    .boolean()
    .default(false)
    .describe('The workflow goes on where it fails; fields set from its values are then left out.'),
  prefilled: z
    .boolean()
    .default(false)
    .describe('Another step computes its prompt, which so does not count as waiting on its pod.'),
  repick: z
    .boolean()
    .default(false)
    .describe('A pod picked in advance is picked again when the step starts.'),
  holdsHead: z
    .boolean()
    .default(false)
    .describe(
      'The beginning of a relayed stream is held back until it says something: an error before that is a failure of the pod, and goes to the next.',
    ),
  hedge: hedgeOptions
    .optional()
    .describe(
      'A second pod gets the request too where the first has sent nothing for long; who answers first, answers. Only of the ' +
        'one step of the last stage, and not where it takes what can be taken once. Default: none.',
    ),
  request,
  suffices: lacking(
    "a step of the file can't judge its answer",
    'write execute: cascade for the profile, or the workflow in TypeScript',
  ),
  when: lacking(
    "a step of the file can't have a condition of its own",
    'write choice or protocol for the workflow, or the workflow in TypeScript',
  ),
}

const step = z
  .strictObject({ name: word('Name of the step.'), ...stepFields })
  .describe('A step: a request to one pod.')
export type DescribedStep = z.output<typeof step>

const together = z
  .strictObject({ together: z.array(step).min(2).max(8).describe('Steps that are sent at once.') })
  .describe('Steps that run together.')

export const describedWorkflow = z
  .strictObject({
    steps: z
      .array(z.union([step, together]))
      .min(1)
      .max(16)
      .describe('Steps, one after the other.'),
    protocol: z
      .enum(['vllm-nixl', 'vllm-p2p-nccl', 'vllm-mooncake', 'sglang', 'generic'])
      .optional()
      .describe(
        'Requests that this protocol cannot hand over (several answers, embeddings, …) go to the fallback, or else whole to ' +
          'one pod. Default: all are taken.',
      ),
    choice: z
      .strictObject({
        step: word('Step whose pod is picked to see what it would have to compute.'),
        // As for the built-in ones.
        threshold: z
          .int()
          .min(0)
          .max(10_000_000)
          .default(256)
          .describe('Uncached prompt tokens up to which that pod gets the whole request. In tokens.'),
      })
      .optional()
      .describe('Short and mostly cached prompts go to one pod whole. Default: all take the steps.'),
    picksAhead: z
      .boolean()
      .default(false)
      .describe('Pods of all steps are picked before the first is sent, so that it can name them.'),
    resume: resumeOption,
    fallback: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Workflow that serves requests while a step has no pod, and those that it is not for. Default: with a choice, one ' +
          "pod of that step's; else none: what has no pod is answered 503, what it is not for goes whole to one pod.",
      ),
  })
  .describe('A workflow: which steps a request takes.')
export type DescribedWorkflow = z.output<typeof describedWorkflow>
export type DescribedWorkflows = Readonly<Record<string, DescribedWorkflow>>

/** What runs at once, in order. */
export const stagesOf = ({ steps }: DescribedWorkflow): readonly (readonly DescribedStep[])[] =>
  steps.map(entry => ('together' in entry ? entry.together : [entry]))
