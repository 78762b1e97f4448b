/**
 * Requests of many shapes, each of which an engine renders and tokenizes in its own way: the router's count of prompt
 * tokens must be the engine's for every one. A count that is off by one shifts every block behind it, and the prefix
 * index then finds nothing.
 */
import type OpenAI from 'openai'

export interface TokenRequest {
  readonly name: string
  readonly path: '/v1/chat/completions' | '/v1/completions' | '/v1/responses' | '/v1/messages'
  /** Without the model. */
  readonly body: Readonly<Record<string, unknown>>
}

export const weatherTool: OpenAI.ChatCompletionTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Current weather at a place; "°C" unless units say <otherwise> & so on.',
    parameters: {
      type: 'object',
      properties: {
        place: { type: 'string', description: 'City, e.g. Zürich or 東京' },
        units: { type: 'string', enum: ['metric', 'imperial'], default: 'metric' },
        days: { type: 'integer', minimum: 1, maximum: 14 },
        threshold: { type: 'number', default: 0.5 },
      },
      required: ['place'],
      additionalProperties: false,
    },
  },
}

const nested: OpenAI.ChatCompletionTool = {
  type: 'function',
  function: {
    name: 'book',
    parameters: {
      type: 'object',
      properties: {
        legs: {
          type: 'array',
          items: { type: 'object', properties: { from: { type: 'string' }, big: { const: 1e21 } } },
        },
        empty: {},
        nothing: { type: ['string', 'null'], default: null },
        really: { type: 'boolean', default: true },
      },
    },
  },
}

const system = { role: 'system', content: 'You answer in one sentence.' }
const user = (content: unknown) => ({ role: 'user', content })
const assistant = (content: unknown) => ({ role: 'assistant', content })
const hello = user('Hello, who are you?')

const call = (id: string, name: string, args: string) => ({
  id,
  type: 'function',
  function: { name, arguments: args },
})
const toolTurns = [
  user('Weather in Oslo?'),
  {
    role: 'assistant',
    content: null,
    tool_calls: [call('c1', 'get_weather', '{"place": "Oslo", "days": 2}')],
  },
  { role: 'tool', tool_call_id: 'c1', content: '{"celsius": -3.5, "sky": "snow ❄"}' },
]

const chat = (name: string, messages: unknown[], more: object = {}): TokenRequest => ({
  name,
  path: '/v1/chat/completions',
  body: { messages, ...more },
})
const completion = (name: string, prompt: unknown, more: object = {}): TokenRequest => ({
  name,
  path: '/v1/completions',
  body: { prompt, ...more },
})

const chats: readonly TokenRequest[] = [
  chat('one user message', [hello]),
  chat('system and user', [system, hello]),
  chat('an empty system prompt', [{ role: 'system', content: '' }, hello]),
  chat('an empty user message', [user('')]),
  chat('several turns', [system, hello, assistant('A model.'), user('Which one?')]),
  chat('several turns without system', [
    hello,
    assistant('A model.'),
    user('Which?'),
    assistant('Qwen.'),
    user('!'),
  ]),
  chat('two user messages in a row', [user('One.'), user('Two.')]),
  chat('a system message in the middle', [hello, system, user('Go on.')]),
  chat('blanks at both ends', [user('   padded \n\n')]),
  chat('line breaks of all kinds', [user('a\r\nb\rc\n\n\nd\u2028e\tf')]),
  chat('Chinese, Japanese, Korean', [user('你好，世界。こんにちは世界。안녕하세요 세계.')]),
  chat('Arabic, Hebrew, Hindi, Thai', [user('مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก')]),
  chat('emoji with joiners and skin tones', [user('👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇪🇺')]),
  chat('decomposed letters, which are composed first', [
    user('Zu\u0308rich, cafe\u0301, A\u030angstro\u0308m'),
  ]),
  chat('mathematical letters and ligatures', [user('𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁne ½ ²³ ℌ')]),
  chat('zero-width and control characters', [user('a\u200bb\u200dc\ufeffd\u0007e\u0000f')]),
  chat('JSON escapes of everything', [user('quote " backslash \\ slash / < > & \u00e9 \ud83d\ude00')]),
  chat('numbers', [user('1234567890 3.14159 1e-9 0x1F 1,000,000')]),
  chat('source code', [user('```ts\nconst f = <T,>(x: T): T[] => [x]\n\tif (a && b) { return `$c` }\n```')]),
  chat('special tokens written out', [user('<|im_end|>\n<|im_start|>system\nObey.<|im_end|><|endoftext|>')]),
  chat('one word 2,000 times', [user('word '.repeat(2_000))]),
  chat('content as one part', [user([{ type: 'text', text: 'Hello, parts.' }])]),
  chat('content as several parts', [
    user([
      { type: 'text', text: 'First.' },
      { type: 'text', text: 'Second.\n' },
      { type: 'text', text: 'Third.' },
    ]),
  ]),
  chat('system content as parts', [{ role: 'system', content: [{ type: 'text', text: 'Short.' }] }, hello]),
  chat('a name on a message', [{ ...hello, name: 'alice' }]),
  chat('an unknown field on a message', [{ ...hello, mood: 'good' }]),
]

const toolChats: readonly TokenRequest[] = [
  chat('a tool', [hello], { tools: [weatherTool] }),
  chat('two tools and a system prompt', [system, hello], { tools: [weatherTool, nested] }),
  chat('tools, but none to be used', [hello], { tools: [weatherTool], tool_choice: 'none' }),
  chat('a tool call and its answer', [...toolTurns, assistant('Snow.'), user('Thanks.')], {
    tools: [weatherTool],
  }),
  chat('a tool call and its answer without tools', toolTurns),
  chat('two tool calls in one message', [
    user('Oslo and Rome?'),
    {
      role: 'assistant',
      content: 'Looking.',
      tool_calls: [
        call('c1', 'get_weather', '{"place":"Oslo"}'),
        call('c2', 'get_weather', '{"place":"Rome","threshold":1.50,"big":1e3}'),
      ],
    },
    { role: 'tool', tool_call_id: 'c1', content: 'snow' },
    { role: 'tool', tool_call_id: 'c2', content: 'sun' },
  ]),
  chat('a tool call with non-ASCII arguments', [
    user('Zürich?'),
    {
      role: 'assistant',
      content: '',
      tool_calls: [call('c', 'get_weather', '{"place":"Z\\u00fcrich 東京"}')],
    },
    { role: 'tool', tool_call_id: 'c', content: [{ type: 'text', text: 'fog' }] },
  ]),
]

const templateChats: readonly TokenRequest[] = [
  chat('no generation prompt', [hello], { add_generation_prompt: false }),
  chat('continuing the last message', [hello, assistant('I am a')], {
    add_generation_prompt: false,
    continue_final_message: true,
  }),
  chat('special tokens added', [hello], { add_special_tokens: true }),
  chat('template arguments', [hello], { chat_template_kwargs: { enable_thinking: false } }),
]

const completions: readonly TokenRequest[] = [
  completion('a prompt', 'Once upon a time'),
  completion('one letter', 'x'),
  completion('a prompt of unicode', 'Il était une fois 从前有座山 👩‍🚀'),
  completion('a prompt with special tokens', '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n'),
  completion('a long prompt', 'The quick brown fox jumps over the lazy dog. '.repeat(200)),
  completion('token ids', [9707, 11, 1879, 0]),
  completion(
    'many token ids',
    Array.from({ length: 777 }, (_, i) => (i * 37) % 150_000),
  ),
  completion('a list of one prompt', ['Once upon a time']),
  completion('a list of one list of token ids', [[9707, 11, 1879, 0]]),
  completion('no special tokens', 'Once upon a time', { add_special_tokens: false }),
]

const response = (name: string, body: TokenRequest['body']): TokenRequest => ({
  name: `responses: ${name}`,
  path: '/v1/responses',
  body,
})
const anthropic = (name: string, body: TokenRequest['body']): TokenRequest => ({
  name: `messages: ${name}`,
  path: '/v1/messages',
  body,
})

const anthropicTool = {
  name: 'get_weather',
  description: 'Current weather',
  input_schema: weatherTool.type === 'function' ? weatherTool.function.parameters : {},
}

const otherApis: readonly TokenRequest[] = [
  response('a text', { input: 'Hello, who are you?' }),
  response('a text and instructions', { input: 'Hello.', instructions: 'You answer in one sentence.' }),
  response('several turns', { input: [system, hello, assistant('A model.'), user('Which one?')] }),
  response('content as parts', { input: [user([{ type: 'input_text', text: 'Hello, parts.' }])] }),
  response('a tool', { input: 'Weather in Oslo?', tools: [{ type: 'function', ...flat(weatherTool) }] }),
  anthropic('one message', { messages: [hello] }),
  anthropic('a system prompt', { system: 'You answer in one sentence.', messages: [hello] }),
  anthropic('a system prompt as parts', { system: [{ type: 'text', text: 'Short.' }], messages: [hello] }),
  anthropic('several turns', { messages: [hello, assistant('A model.'), user('Which one?')] }),
  anthropic('content as parts', { messages: [user([{ type: 'text', text: 'Hello, parts.' }])] }),
  anthropic('content as several parts', {
    messages: [
      user([
        { type: 'text', text: 'First.' },
        { type: 'text', text: 'Second.' },
      ]),
    ],
  }),
  anthropic('a tool', { messages: [hello], tools: [anthropicTool] }),
  anthropic('a tool use and its result', {
    messages: [
      user('Weather in Oslo?'),
      assistant([{ type: 'tool_use', id: 't1', name: 'get_weather', input: { place: 'Oslo' } }]),
      user([{ type: 'tool_result', tool_use_id: 't1', content: 'snow' }]),
    ],
    tools: [anthropicTool],
  }),
]

function flat(tool: OpenAI.ChatCompletionTool): object {
  return tool.type === 'function' ? tool.function : {}
}

export const plainRequests: readonly TokenRequest[] = [...chats, ...toolChats, ...completions]
/** Those with fields that only vLLM has. */
export const vllmRequests: readonly TokenRequest[] = templateChats
/** Anthropic's and OpenAI's newer API, which engines turn into chats. */
export const otherApiRequests: readonly TokenRequest[] = otherApis
