/** The request bodies as far as the engine reads them; unknown fields pass, as they do in real engines. */
import { z } from 'zod'

const count = z.number().int().min(1)
const optionalCount = count.nullish()

const tool = z.looseObject({
  type: z.string(),
  function: z.looseObject({ name: z.string(), parameters: z.looseObject({}).optional() }),
})
const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: z.string() }) }),
])

/** Fields that all generating requests share. */
const sampling = {
  model: z.string(),
  max_tokens: optionalCount,
  min_tokens: z.number().int().min(0).nullish(),
  ignore_eos: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .looseObject({ include_usage: z.boolean().nullish(), continuous_usage_stats: z.boolean().nullish() })
    .nullish(),
  n: optionalCount,
  cache_salt: z.string().nullish(),
  return_token_ids: z.boolean().nullish(),
  echo: z.boolean().nullish(),
}

export const chatMessage = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]).nullish(),
})

export const chatRequest = z.looseObject({
  ...sampling,
  messages: z.array(chatMessage).min(1),
  max_completion_tokens: optionalCount,
  /** MAX's: the prompt's ids, which count where they are given. */
  prompt_tokens: z.array(z.number().int().min(0)).nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: toolChoice.nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().nullish(),
  continue_final_message: z.boolean().nullish(),
  add_generation_prompt: z.boolean().nullish(),
})

const promptInput = z.union([
  z.string(),
  z.array(z.string()).min(1),
  z.array(z.number().int().min(0)).min(1),
  z.array(z.array(z.number().int().min(0)).min(1)).min(1),
])

export const completionRequest = z.looseObject({
  ...sampling,
  prompt: promptInput,
  logprobs: z.int().nullish(),
})

export const embeddingRequest = z.looseObject({
  model: z.string(),
  input: promptInput,
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: optionalCount,
})

export const responsesRequest = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.looseObject({ type: z.string().optional() })).min(1)]),
  instructions: z.string().nullish(),
  max_output_tokens: optionalCount,
  temperature: z.number().min(0).nullish(),
  previous_response_id: z.string().nullish(),
  store: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  cache_salt: z.string().nullish(),
  tools: z.array(z.looseObject({ type: z.string(), name: z.string().optional() })).nullish(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.looseObject({ type: z.string(), name: z.string().optional() }),
    ])
    .nullish(),
})

const anthropicContent = z.union([z.string(), z.array(z.looseObject({ type: z.string() }))])

export const messagesRequest = z.looseObject({
  model: z.string(),
  max_tokens: count,
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant']), content: anthropicContent })).min(1),
  system: anthropicContent.nullish(),
  temperature: z.number().min(0).nullish(),
  stream: z.boolean().nullish(),
  stop_sequences: z.array(z.string()).nullish(),
  tools: z.array(z.looseObject({ name: z.string(), input_schema: z.looseObject({}).optional() })).nullish(),
  tool_choice: z.looseObject({ type: z.string(), name: z.string().optional() }).nullish(),
})

/** `/v1/messages/count_tokens` asks for the same without an answer. */
export const countTokensRequest = messagesRequest.omit({ max_tokens: true })

export const tokenizeRequest = z.union([
  z.looseObject({
    model: z.string().nullish(),
    prompt: z.string(),
    add_special_tokens: z.boolean().nullish(),
  }),
  z.looseObject({ model: z.string().nullish(), messages: z.array(chatMessage).min(1) }),
])

export const detokenizeRequest = z.looseObject({ tokens: z.array(z.number().int().min(0)) })

export type ChatRequest = z.output<typeof chatRequest>
export type ChatMessage = z.output<typeof chatMessage>
export type CompletionRequest = z.output<typeof completionRequest>
export type PromptInput = z.output<typeof promptInput>
export type ResponsesRequest = z.output<typeof responsesRequest>
export type MessagesRequest = z.output<typeof messagesRequest>
