/**
 * A cheap model first, the one asked for only where the cheap one's answer will not do (Chen, Zaharia and Zou,
 * "FrugalGPT", 2023). The cheap answer is kept whole until it is judged: a stream that will do goes to the client
 * unchanged, and all at once. It names the model that gave it.
 *
 * - Whatever becomes of the cheap model, the request is served: errors of any kind escalate too.
 * - The profile of the first step must not read what was prepared of the prompt, which is done for the model asked for;
 *   that is checked when the configuration is loaded.
 * - What can't be judged (embeddings, a body without a prompt, a response that goes on from one that a pod holds) goes to
 *   the model asked for.
 */
import { z } from 'zod'
import type { Pool } from '../../data/pod-view.js'
import { executor } from '../../decision/factories.js'
import { type ChoiceContent, contentOf } from '../answer-content.js'
import { editBody, set } from '../body-edit.js'
import type { Shortfall } from '../events.js'
import { wholeRequest } from '../leg-request.js'
import type { StepContext, StepInput, StepRequest, Workflow } from '../workflow.js'
import { workflow } from '../workflow-builder.js'
import { passThrough, singleWorkflow } from './single.js'

/** A regular expression, compiled to see whether it is one. */
const pattern = z.string().superRefine((text, ctx) => {
  try {
    new RegExp(text, 'iu')
  } catch (error) {
    ctx.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
  }
})

const escalate = z.strictObject({
  // `length` is not among them: a client that asks for 16 tokens gets 16 of any model.
  finishReasons: z
    .array(z.string().min(1))
    .default(['content_filter'])
    .describe("Values of the answer's finish_reason."),
  shorterThan: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe('Answers of fewer characters, unless they call a tool; 0 = none is too short.'),
  meanLogprobBelow: z
    .number()
    .max(0)
    .optional()
    .describe(
      "Mean of the tokens' log probabilities, natural, below which an answer will not do: -0.7 is a probability of 0.5 " +
        'a token. Only where the request asks for logprobs; an answer without them passes. Default: not looked at.',
    ),
  matches: z
    .array(pattern)
    .default([])
    .describe(
      'Regular expressions, case-insensitive, looked for in the first 2,000 characters: refusals, "I do not know".',
    ),
  refusals: z
    .boolean()
    .default(true)
    .describe("Answers whose refusal field is set by the model's own parser."),
  badToolCalls: z.boolean().default(true).describe('Tool calls whose arguments are no JSON object.'),
})

const options = z.object({
  first: z
    .strictObject({
      model: z.string().min(1).describe('Name of the cheap model, as its pods call it.'),
      // Needs nothing of the prompt.
      profile: z
        .string()
        .min(1)
        .default('least-request')
        .describe('Profile that selects its pod; it must not tokenize, hash or match the prompt.'),
      attempts: z.int().min(1).max(8).default(1).describe('Most of its pods tried.'),
      // What a cheap model has not said by then, the client had better hear from the other.
      timeoutMs: z
        .int()
        .min(1)
        .max(3_600_000)
        .default(30_000)
        .describe('For its whole answer; then the model asked for has its turn. In milliseconds.'),
    })
    .describe('Who answers first.'),
  escalate: escalate.prefault({}).describe('What sends a request on to the model asked for, besides errors.'),
  attempts: z
    .int()
    .min(1)
    .max(8)
    .default(3)
    .describe('Most pods of the model asked for that are tried, the first included.'),
})

/** `execute: cascade` of a profile. */
export const cascade = executor({
  name: 'cascade',
  summary: 'a cheap model answers first; the one asked for answers where that will not do',
  options,
})

const noPods: Pool = { slots: new Uint16Array(0), length: 0 }

export function cascadeWorkflow(given: unknown): Workflow {
  const { first, escalate: rule, attempts } = options.parse(given)
  const why = whyEscalate(rule)
  const model = JSON.stringify(first.model)
  return workflow('cascade')
    .step({
      name: 'first',
      output: 'keep',
      onFailure: { kind: 'retry', attempts: first.attempts },
      profile: first.profile,
      model: first.model,
      deadlineMs: first.timeoutMs,
      // Its first byte is a stream's for some requests and the whole answer for others.
      samples: 'nothing',
      pool: (_, pods) => pods.pool(first.model) ?? noPods,
      request: input => cheapRequest(input, model),
      suffices({ body }, ctx) {
        const found = why(contentOf(body))
        if (found === undefined) return true
        ctx.trace?.took('cascade', `${first.model}: ${found.text}`)
        return found.shortfall
      },
      skip: () => undefined,
    })
    .step({ name: 'serve', output: 'relay', onFailure: { kind: 'retry', attempts }, request: passThrough })
    .build({ unfit, fallback: singleWorkflow({ attempts }) })
}

function cheapRequest(input: StepInput<never>, model: string): StepRequest {
  const { body, headers, ...rest } = wholeRequest(input)
  // What is judged has to be read.
  const plain = headers.flatMap((text, i) => (isEncoding(headers[i - (i % 2)]) ? [] : [text]))
  return { ...rest, headers: plain, body: body && editBody(body, [set('model', model)]) }
}

const isEncoding = (name: string | undefined): boolean => name === 'accept-encoding'

const JUDGED = ['chat', 'completions', 'responses']

function unfit({ body, pinnedTo, request }: StepContext): string | undefined {
  if (pinnedTo !== '') return `the response '${pinnedTo}' is held by one pod`
  if (body.length === 0 || !JUDGED.includes(request.kind)) return 'the answer is none that can be judged'
  return undefined
}

/** Of the text, looked at by regular expressions: refusals stand at the beginning, and expressions can be slow. */
const LOOKED_AT = 2000

/** Why an answer will not do: as it is counted, and in words. */
interface Fault {
  readonly shortfall: Shortfall
  readonly text: string
}
const because = (shortfall: Shortfall, text: string): Fault => ({ shortfall, text })

/** Says why an answer will not do; undefined: it will. One choice that will not do is enough. */
function whyEscalate(rule: z.output<typeof escalate>) {
  const { finishReasons, shorterThan, meanLogprobBelow = Number.NEGATIVE_INFINITY } = rule
  const matches = rule.matches.map(text => new RegExp(text, 'iu'))
  const whyNot = (choice: ChoiceContent): Fault | undefined => {
    const { text, finishReason, refused, meanLogprob = 0, toolArguments } = choice
    if (finishReasons.includes(finishReason))
      return because('finish_reason', `finish_reason is ${finishReason}`)
    if (rule.refusals && refused) return because('refusal', 'it refused')
    if (rule.badToolCalls && !toolArguments.every(isObject))
      return because('tool_call', 'arguments of a tool call are no JSON object')
    if (toolArguments.length === 0 && text.length < shorterThan)
      return because('too_short', `it is ${text.length} characters long`)
    if (meanLogprob < meanLogprobBelow)
      return because('unsure', `its mean logprob is ${meanLogprob.toFixed(3)}`)
    const found = matches.find(each => each.test(text.slice(0, LOOKED_AT)))
    return found && because('match', `it matches /${found.source}/`)
  }
  return (choices: readonly ChoiceContent[] | undefined): Fault | undefined => {
    if (choices === undefined) return because('unreadable', 'its answer can not be read')
    for (const choice of choices) {
      const reason = whyNot(choice)
      if (reason !== undefined) return reason
    }
    return undefined
  }
}

function isObject(json: string): boolean {
  // A tool without parameters.
  if (json === '') return true
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
