/** POST /v1/completions: text or token ids, single or in batches, `n` answers each. */

import type { Answer } from '../answer.js'
import type { Call } from '../call.js'
import {
  fullUsage,
  generate,
  type HandOffFields,
  runningUsage,
  type Task,
  type Usage,
} from '../generation.js'
import { Logprobs, type WantedLogprobs, wantedLogprobs } from '../logprobs.js'
import { FINGERPRINT, type Runtime } from '../runtime.js'
import { type CompletionRequest, completionRequest, type PromptInput } from '../schemas.js'

const isNumbers = (input: readonly unknown[]): input is number[] => typeof input[0] === 'number'

/** The prompts of a request as tokens. */
export function promptsOf(input: PromptInput, runtime: Runtime): Uint32Array[] {
  if (typeof input === 'string') return [runtime.tokenizer.encode(input, true)]
  if (isNumbers(input)) return [Uint32Array.from(input)]
  return input.map(entry =>
    typeof entry === 'string'
      ? runtime.tokenizer.encode(entry, true)
      : Uint32Array.from(Array.isArray(entry) ? entry : []),
  )
}

export function completions(call: Call): void {
  const request = call.parse(completionRequest)
  const { runtime } = call
  runtime.requireModel(request.model)
  // OpenAI's and vLLM's default for this endpoint.
  const max_tokens = request.max_tokens ?? 16
  const tasks = promptsOf(request.prompt, runtime).map((prompt): Task => {
    const limits = runtime.limits(prompt.length, { ...request, max_tokens })
    const answers = Array.from({ length: request.n ?? 1 }, (_, sample) =>
      runtime.answer(prompt, sample, limits),
    )
    return { prompt, answers }
  })
  const state = { request, wanted: wantedLogprobs(request), choices: choicesOf(tasks, request, runtime) }
  const sink = request.stream === true ? streamed(call, state) : whole(call, state)
  generate(call, request.model, request.cache_salt, tasks, sink)
}

/** One answer to one prompt. */
interface Choice {
  readonly prompt: Uint32Array
  readonly answer: Answer
  /** What stands before the answer: the prompt, where the request wants it back. */
  readonly echo: string
  readonly logprobs: Logprobs
}

interface State {
  readonly request: CompletionRequest
  readonly choices: readonly Choice[]
  readonly wanted: WantedLogprobs
}

const choicesOf = (
  tasks: readonly Task[],
  { echo }: CompletionRequest,
  { tokenizer }: Runtime,
): readonly Choice[] =>
  tasks.flatMap(({ prompt, answers }) =>
    answers.map(answer => ({
      prompt,
      answer,
      echo: echo === true ? tokenizer.decode(prompt) : '',
      logprobs: new Logprobs(prompt, answer, tokenizer),
    })),
  )

const idsOf = (tokens: Uint32Array, wanted: boolean): number[] | null => (wanted ? Array.from(tokens) : null)

/** Of so many of the answer's tokens; with the first of them come those of a prompt that is echoed. */
const told = ({ echo, logprobs }: Choice, { answer: top }: WantedLogprobs, at: number, count: number) =>
  top === null ? null : logprobs.completion(at, count, top, at === 0 && echo !== '')

function whole(call: Call, { request, choices, wanted }: State) {
  const wantsIds = request.return_token_ids === true
  return {
    onDone: (usage: Usage, handOff: HandOffFields) =>
      call.json(200, {
        id: `cmpl-${call.id}`,
        object: 'text_completion',
        created: call.created,
        model: request.model,
        choices: choices.map((choice, index) => ({
          index,
          text: choice.echo + choice.answer.text,
          logprobs: told(choice, wanted, 0, choice.answer.tokens.length),
          finish_reason: choice.answer.finish,
          stop_reason: null,
          token_ids: idsOf(choice.answer.tokens, wantsIds),
          prompt_logprobs: wanted.prompt === null ? null : choice.logprobs.ofPrompt(wanted.prompt),
          prompt_token_ids: idsOf(choice.prompt, wantsIds),
          routed_experts: null,
        })),
        service_tier: null,
        system_fingerprint: FINGERPRINT,
        usage: fullUsage(usage),
        kv_transfer_params: null,
        ec_transfer_params: null,
        metrics: null,
        ...handOff,
      }),
  }
}

function streamed(call: Call, { request, choices, wanted }: State) {
  const stream = call.stream()
  const wantsIds = request.return_token_ids === true
  const running = runningUsage(request.stream_options)
  const head = {
    id: `cmpl-${call.id}`,
    object: 'text_completion',
    created: call.created,
    model: request.model,
  }
  return {
    onToken(index: number, at: number): void {
      const choice = choices[index]
      if (choice === undefined) return
      const { answer, prompt, echo } = choice
      const isLast = at === answer.pieces.length - 1
      stream.send({
        ...head,
        choices: [
          {
            index,
            text: (at === 0 ? echo : '') + (answer.pieces[at] ?? ''),
            logprobs: told(choice, wanted, at, 1),
            finish_reason: isLast ? answer.finish : null,
            stop_reason: null,
            prompt_token_ids: at === 0 ? idsOf(prompt, wantsIds) : null,
            token_ids: idsOf(answer.tokens.subarray(at, at + 1), wantsIds),
          },
        ],
        ...running(prompt.length, at + 1),
      })
    },
    onDone(usage: Usage): void {
      if (request.stream_options?.include_usage === true) stream.send({ ...head, choices: [], usage })
      stream.send('[DONE]')
      stream.end()
    },
  }
}
