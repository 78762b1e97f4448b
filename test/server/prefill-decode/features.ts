/** What clients ask for besides a text, as fields of a request; and which workflows cannot split it. */
import { type Connector, prompt } from './kit.js'

export type Api = 'chat' | 'completions'

export interface Feature {
  readonly api: Api | 'both'
  /** Drawn anew for each request: prompts that no cache knows. */
  fields(): Record<string, unknown>
  /** Workflows that send it whole to one pod; the others take two. */
  readonly whole?: readonly Connector[]
  /** vLLM refuses to stream it. */
  readonly notStreamed?: boolean
}

const all: readonly Connector[] = ['nixl', 'p2p-nccl', 'mooncake', 'sglang', 'generic']
/** One prompt and one answer. */
const one: readonly Connector[] = ['nixl', 'mooncake']
const oneAnswer: readonly Connector[] = [...one, 'sglang']

const weather = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
}
const ids = (): number[] => Array.from(Buffer.from(prompt()).subarray(0, 300))
const schema = { name: 'answer', schema: { type: 'object', properties: { leaf: { type: 'string' } } } }

export const features = {
  nothing: { api: 'both', fields: () => ({}) },
  'n=2': { api: 'both', fields: () => ({ n: 2, temperature: 0.7 }), whole: oneAnswer },
  best_of: { api: 'both', fields: () => ({ best_of: 3 }), whole: one },
  'max_tokens=1': { api: 'both', fields: () => ({ max_tokens: 1 }) },
  min_tokens: { api: 'both', fields: () => ({ min_tokens: 12, max_tokens: 40 }) },
  ignore_eos: { api: 'both', fields: () => ({ ignore_eos: true, max_tokens: 70 }) },
  'unknown fields': { api: 'both', fields: () => ({ a_later_field: { of: [1, null, 'é'] }, seed: 7 }) },
  'tokens of both': { api: 'both', fields: () => ({ return_token_ids: true }) },
  prompt_logprobs: { api: 'both', fields: () => ({ prompt_logprobs: 2 }), whole: all, notStreamed: true },
  'tools, required': {
    api: 'chat',
    fields: () => ({ tools: [weather], tool_choice: 'required', max_tokens: 64 }),
  },
  'tools, named': {
    api: 'chat',
    fields: () => ({
      tools: [weather],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      max_tokens: 64,
    }),
  },
  'tools, none': { api: 'chat', fields: () => ({ tools: [weather], tool_choice: 'none' }) },
  'tools, cut': { api: 'chat', fields: () => ({ tools: [weather], tool_choice: 'required', max_tokens: 2 }) },
  response_format: {
    api: 'chat',
    fields: () => ({ response_format: { type: 'json_schema', json_schema: schema } }),
  },
  max_completion_tokens: { api: 'chat', fields: () => ({ max_completion_tokens: 5, max_tokens: 9 }) },
  'chat logprobs': { api: 'chat', fields: () => ({ logprobs: true }) },
  'chat top_logprobs': { api: 'chat', fields: () => ({ logprobs: true, top_logprobs: 4 }) },
  'token ids': { api: 'completions', fields: () => ({ prompt: ids() }) },
  'batch of texts': {
    api: 'completions',
    fields: () => ({ prompt: [prompt(), prompt(), prompt()] }),
    whole: one,
  },
  'batch of one': { api: 'completions', fields: () => ({ prompt: [prompt()] }), whole: one },
  'batch of ids': { api: 'completions', fields: () => ({ prompt: [ids(), [1, 2, 3, 4, 5]] }), whole: one },
  'batch, n=2': {
    api: 'completions',
    fields: () => ({ prompt: [prompt(), prompt()], n: 2, temperature: 0.7 }),
    whole: oneAnswer,
  },
  logprobs: { api: 'completions', fields: () => ({ logprobs: 3 }) },
  'logprobs=0': { api: 'completions', fields: () => ({ logprobs: 0 }) },
  echo: { api: 'completions', fields: () => ({ echo: true }) },
  'echo, logprobs': { api: 'completions', fields: () => ({ echo: true, logprobs: 2 }), whole: all },
} as const satisfies Readonly<Record<string, Feature>>

export type FeatureName = keyof typeof features

const has = (name: string): name is FeatureName => name in features
export const featureNames = Object.keys(features).filter(has)

export const featureOf = (name: FeatureName): Feature => features[name]
