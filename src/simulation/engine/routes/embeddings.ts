/** POST /v1/embeddings: vectors drawn from the tokens, so that equal inputs have equal vectors. */
import { textAnswer } from '../answer.js'
import type { Call } from '../call.js'
import { generate } from '../generation.js'
import { seededRandom, seedOf } from '../random.js'
import { embeddingRequest } from '../schemas.js'
import { promptsOf } from './completions.js'

/** Small enough to read, large enough that equal vectors mean equal inputs. */
const DEFAULT_DIMENSIONS = 64

export function embeddings(call: Call): void {
  const request = call.parse(embeddingRequest)
  const { runtime } = call
  runtime.requireModel(request.model)
  const prompts = promptsOf(request.input, runtime)
  for (const prompt of prompts) runtime.checkPrompt(prompt.length)
  // An answer without tokens: the request ends with its prefill.
  const nothing = textAnswer('', 0, runtime.tokenizer)
  const tasks = prompts.map(prompt => ({ prompt, answers: [nothing] }))
  const size = request.dimensions ?? DEFAULT_DIMENSIONS
  generate(call, request.model, null, tasks, {
    onDone: usage =>
      call.json(200, {
        id: `embd-${call.id}`,
        object: 'list',
        created: call.created,
        model: request.model,
        data: prompts.map((prompt, index) => {
          const vector = unitVector(seedOf(prompt), size)
          const embedding = request.encoding_format === 'base64' ? base64(vector) : Array.from(vector)
          return { index, object: 'embedding', embedding }
        }),
        usage: {
          prompt_tokens: usage.prompt_tokens,
          total_tokens: usage.prompt_tokens,
          completion_tokens: 0,
          prompt_tokens_details: null,
        },
      }),
  })
}

/** A direction drawn from the seed; length one, as embedding models give. */
function unitVector(seed: number, size: number): Float32Array {
  const random = seededRandom(seed)
  const vector = Float32Array.from({ length: size }, () => random() * 2 - 1)
  const length = Math.hypot(...vector)
  return vector.map(value => value / length)
}

/** Little-endian 32-bit floats, as OpenAI's clients expect. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((value, at) => {
    bytes.writeFloatLE(value, at * 4)
  })
  return bytes.toString('base64')
}
