/**
 * What a workflow may be in the configuration file, under `workflows:`. Types, checks, defaults, docs and the JSON Schema
 * for editors come from here; what needs more than one field is in faults.ts.
 */
import { z } from 'zod'
import { STEP_ROLES } from '../../../data/pod-role.js'
import { resumeOption } from '../../resume/options.js'

const MAX_MS = 3_600_000

/** A name that values and other steps go by: no dots, since `step.value` names a value of a step. */
const word = (text: string) =>
  z
    .string()
    .regex(/^[\w-]{1,64}$/, { error: 'expected 1 to 64 letters, digits, - or _' })
    .describe(text)

/** What a pod can be asked for. */
export const POD_FACTS = ['host', 'origin', 'bootstrapPort', 'address', 'rank', 'id'] as const
export type PodFact = (typeof POD_FACTS)[number]

/** What can be drawn for each attempt, the same for all its steps. */
export const GENERATED = ['room', 'uuid'] as const

const KINDS = ['from', 'generate', 'pod', 'value'] as const

const reference = z
  .strictObject({
    from: z
      .string()
      .regex(/^[\w-]+\.[\w-]+$/, { error: 'expected step.value, as in prefill.kv' })
      .optional()
      .describe('A value that an earlier step keeps: step.value.'),
    generate: z
      .enum(GENERATED)
      .optional()
      .describe(
        'Drawn for each attempt, the same for all steps: a room of SGLang (1 to 2^63 - 1), or 32 hex digits.',
      ),
    pod: word('A step, of whose pod something is said; with `its`.').optional(),
    its: z
      .enum(POD_FACTS)
      .optional()
      .describe(
        'What is said of the pod: host, origin (scheme, host and port), bootstrapPort and address of its kvTransfer, rank, id. One that it has not leaves the field out.',
      ),
    value: z.unknown().optional().describe('Any JSON value; maps have to be written in this way.'),
  })
  .superRefine((given, ctx) => {
    // Of an unknown key something else is told already.
    if (ctx.issues.length > 0) return
    // A null of the file arrives as nothing at all.
    const kinds = KINDS.filter(kind => given[kind] !== undefined || (kind === 'value' && kind in given))
    const fault = (message: string, fix: string) => ctx.addIssue({ code: 'custom', message, params: { fix } })
    if (kinds.length !== 1)
      fault(`expected one of ${KINDS.join(', ')}, got ${kinds.join(' and ') || 'none'}`, 'keep one of them')
    else if ((given.pod === undefined) !== (given.its === undefined))
      fault('pod and its go together', 'write { pod: prefill, its: host }')
  })

const fieldValue = z
  .union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.unknown()), reference])
  .describe('A JSON value, or where it comes from.')
export type FieldValue = z.output<typeof fieldValue>

const headerValue = z
  .union([z.string().regex(/^[\x20-\x7e]*$/, { error: 'expected printable ASCII' }), reference])
  .describe('A text, or where it comes from.')
export type HeaderValue = z.output<typeof headerValue>

const request = z
  .strictObject({
    oneToken: z
      .boolean()
      .default(false)
      .describe(
        'The request only fills the cache: one token, in one JSON answer, whatever the client asked for.',
      ),
    noStream: z.boolean().default(false).describe('The answer is one JSON object.'),
    set: z
      .record(z.string().min(1).describe('Name of a field.'), fieldValue)
      .default({})
      .describe("Fields of the body's top level, set in place or at the end."),
    drop: z.array(z.string().min(1)).default([]).describe("Fields taken out of the body's top level."),
    headers: z
      .record(
        z.string().regex(/^[a-z0-9-]+$/, { error: 'expected a header name in lower case' }),
        headerValue,
      )
      .default({})
      .describe('Headers set.'),
  })
  .prefault({})
  .describe("What is changed in the client's request. All else goes through byte for byte.")

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
        .regex(/^\/[^/~]+$/, { error: 'expected a field of the top level, as in /kv_transfer_params' }),
    )
    .default({})
    .describe(
      'What is kept of the answer for later steps: a JSON pointer to a field of its top level, byte for byte. One without ' +
        'the field, or with null, is a failure of the pod.',
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
  request,
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
