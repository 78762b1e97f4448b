/** POST /v1/completions: text or token ids, single or in batches, `n` answers each. */
import type { Call } from '../call.js'
import { fullUsage, generate, type HandOffFields, type Task, type Usage } from '../generation.js'
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
  const sink = request.stream === true ? streamed(call, request, tasks) : whole(call, request, tasks)
  generate(call, request.model, request.cache_salt, tasks, sink)
}

const idsOf = (tokens: Uint32Array, wanted: boolean): number[] | null => (wanted ? Array.from(tokens) : null)

function whole(call: Call, request: CompletionRequest, tasks: readonly Task[]) {
  const wantsIds = request.return_token_ids === true
  const choices = tasks.flatMap(({ prompt, answers }) => answers.map(answer => ({ prompt, answer })))
  return {
    onDone: (usage: Usage, handOff: HandOffFields) =>
      call.json(200, {
        id: `cmpl-${call.id}`,
        object: 'text_completion',
        created: call.created,
        model: request.model,
        choices: choices.map(({ prompt, answer }, index) => ({
          index,
          text: answer.text,
          logprobs: null,
          finish_reason: answer.finish,
          stop_reason: null,
          token_ids: idsOf(answer.tokens, wantsIds),
          prompt_logprobs: null,
          prompt_token_ids: idsOf(prompt, wantsIds),
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

function streamed(call: Call, request: CompletionRequest, tasks: readonly Task[]) {
  const stream = call.stream()
  const wantsIds = request.return_token_ids === true
  const answers = tasks.flatMap(task => task.answers)
  const prompts = tasks.flatMap(task => task.answers.map(() => task.prompt))
  const head = {
    id: `cmpl-${call.id}`,
    object: 'text_completion',
    created: call.created,
    model: request.model,
  }
  return {
    onToken(choice: number, at: number): void {
      const answer = answers[choice]
      const prompt = prompts[choice]
      if (answer === undefined || prompt === undefined) return
      const isLast = at === answer.pieces.length - 1
      stream.send({
        ...head,
        choices: [
          {
            index: choice,
            text: answer.pieces[at] ?? '',
            logprobs: null,
            finish_reason: isLast ? answer.finish : null,
            stop_reason: null,
            prompt_token_ids: at === 0 ? idsOf(prompt, wantsIds) : null,
            token_ids: idsOf(answer.tokens.subarray(at, at + 1), wantsIds),
          },
        ],
      })
    },
    onDone(usage: Usage): void {
      if (request.stream_options?.include_usage === true) stream.send({ ...head, choices: [], usage })
      stream.send('[DONE]')
      stream.end()
    },
  }
}
