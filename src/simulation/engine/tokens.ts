/** How a simulated engine turns requests into tokens: the model's own tokenizer, or a stand-in without a model. */
import { loadNative, type NativeAddon, type Tokenizer } from '../../data/native.js'

export interface EngineTokenizer {
  /** Tokens of a chat request's JSON bytes. Throws where the template does. */
  encodeChat(body: Uint8Array): Uint32Array
  encode(text: string, addSpecialTokens: boolean): Uint32Array
  decode(ids: Uint32Array): string
}

/** The tokenizer of a model directory, by the same code that the router uses, so that both see the same blocks. */
export function modelTokenizer(dir: string, native: NativeAddon = loadNative()): EngineTokenizer {
  const tokenizer: Tokenizer = native.Tokenizer.load(dir)
  return tokenizer
}

/**
 * The stand-in: four UTF-8 bytes to a token, little-endian, the last one filled with zeros. Reversible, needs no
 * state, and a text's tokens begin with those of any earlier text that it continues (but for the last one), which is
 * all that a prefix cache asks for. Chats are rendered as plain ChatML.
 */
export const byteTokenizer: EngineTokenizer = {
  encode(text) {
    const bytes = Buffer.from(text, 'utf8')
    const tokens = new Uint32Array(Math.ceil(bytes.length / 4))
    for (let i = 0; i < bytes.length; i++) {
      const at = i >>> 2
      tokens[at] = ((tokens[at] ?? 0) | ((bytes[i] ?? 0) << ((i & 3) * 8))) >>> 0
    }
    return tokens
  },
  decode(ids) {
    const bytes = Buffer.alloc(ids.length * 4)
    ids.forEach((id, at) => {
      bytes.writeUInt32LE(id, at * 4)
    })
    let end = bytes.length
    while (end > 0 && bytes[end - 1] === 0) end--
    return bytes.toString('utf8', 0, end)
  },
  encodeChat(body) {
    const request: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return byteTokenizer.encode(renderChat(request), false)
  },
}

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined

function renderChat(request: unknown): string {
  const messages = field(request, 'messages')
  const tools = field(request, 'tools')
  let text =
    Array.isArray(tools) && tools.length > 0 ? `<|im_start|>tools\n${JSON.stringify(tools)}<|im_end|>\n` : ''
  const all: unknown[] = Array.isArray(messages) ? messages : []
  const isContinued = field(request, 'continue_final_message') === true
  for (const [at, message] of all.entries()) {
    const calls = field(message, 'tool_calls')
    const content =
      renderContent(field(message, 'content')) + (calls === undefined ? '' : JSON.stringify(calls))
    const isOpen = isContinued && at === all.length - 1
    text += `<|im_start|>${String(field(message, 'role'))}\n${content}${isOpen ? '' : '<|im_end|>\n'}`
  }
  return isContinued || field(request, 'add_generation_prompt') === false
    ? text
    : `${text}<|im_start|>assistant\n`
}

function renderContent(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map(part => String(field(part, 'text') ?? '')).join('')
}
