/** Options of a simulated engine (`phyllo engine`), with their defaults. */
import { z } from 'zod'
import { conflictOf, handOffFields } from './hand-off/options.js'
import { EVENT_DIALECTS, EVENT_FORMS } from './kv-events/encoder.js'
import { HASH_FORMS } from './kv-events/engine-hash.js'
import { a10gLlama8b, type EngineParameters } from './parameters.js'

/** Ways in which an engine can misbehave, for tests. `x-sim-fault` names one for a single request. */
export const FAULTS = [
  'error',
  'refuse',
  'hang',
  'die',
  'stall',
  'garbage',
  'slow-headers',
  'slow-body',
] as const

const faultText = z
  .string()
  .regex(
    new RegExp(`^(${FAULTS.join('|')})(=\\d+)?$`),
    `one of ${FAULTS.join(', ')}, with =NUMBER where it takes one`,
  )

const fields = z.strictObject({
  host: z.string().default('127.0.0.1').describe('Address to listen on'),
  port: z.number().int().min(0).max(65_535).default(8000).describe('Port to listen on; 0 takes a free one'),
  listen: z.enum(['auto', 'uws', 'node']).default('auto').describe('HTTP server to use'),
  model: z.string().min(1).default('demo').describe('Name of the served model'),
  modelDir: z
    .string()
    .optional()
    .describe('Directory with tokenizer.json; without it four bytes are a token'),
  maxModelLen: z
    .number()
    .int()
    .positive()
    .default(16_384)
    .describe('Most tokens of prompt and answer together'),
  blockSize: z.number().int().positive().default(a10gLlama8b.blockSize).describe('Tokens in a KV block'),
  blocks: z.number().int().positive().default(a10gLlama8b.blocks).describe('KV blocks'),
  maxBatch: z.number().int().positive().default(a10gLlama8b.maxBatch).describe('Most requests in a step'),
  maxBatchedTokens: z
    .number()
    .int()
    .positive()
    .default(a10gLlama8b.maxBatchedTokens)
    .describe('Most tokens in a step'),
  dataParallel: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe('Data-parallel ranks: as many caches and schedulers, named by the x-data-parallel-rank header'),
  kvEvents: z
    .string()
    .optional()
    .describe(
      'ZeroMQ address to publish KV events on, such as tcp://*:5557; one without a * is dialled; next rank, next port',
    ),
  kvEventsReplay: z.string().optional().describe('ZeroMQ address to answer replay requests on'),
  kvEventsTopic: z.string().default('').describe('Topic of the KV events'),
  kvEventsForm: z
    .enum(EVENT_FORMS)
    .default('map')
    .describe('map as vLLM from 0.24, array as the versions before'),
  kvEventsDialect: z.enum(EVENT_DIALECTS).default('vllm').describe('Whose fields KV events have'),
  kvEventsHashes: z
    .enum(HASH_FORMS)
    .default('int')
    .describe('Block names in KV events: 64 bits, or 32 bytes'),
  ...handOffFields,
  speed: z.number().positive().default(1).describe('How many times faster than the modelled hardware'),
  answerTokens: z
    .number()
    .int()
    .positive()
    .default(48)
    .describe('Mean length of an answer that no limit cuts'),
  maxLoras: z
    .number()
    .int()
    .min(1)
    .max(1024)
    .default(4)
    .describe(
      "LoRA adapters in a batch, by its metrics (vLLM's --max-loras); it runs more if it is asked to",
    ),
  seed: z.number().int().default(1).describe('Seed of answers and of random failures'),
  instant: z.boolean().default(false).describe('Answer at once with fixed bytes: for benches of a proxy'),
  instantChunks: z.number().int().positive().default(50).describe('Content chunks of an instant stream'),
  failRate: z.number().min(0).max(1).default(0).describe('Part of inference requests answered with 500'),
  fault: faultText.optional().describe(`Misbehave on every inference request: ${FAULTS.join(', ')}`),
})

export const engineOptions = fields.superRefine((options, context) => {
  const conflict = conflictOf(options)
  if (conflict !== null)
    context.addIssue({ code: 'custom', path: [conflict.field], message: conflict.message, input: options })
})

/** Options with all defaults filled in. */
export type EngineOptions = z.output<typeof engineOptions>
/** Options as a caller gives them. */
export type EngineOptionsInput = z.input<typeof engineOptions>

/** The model's parameters under these options: the default hardware with the options' cache and batch. */
export const parametersOf = (options: EngineOptions): EngineParameters => ({
  ...a10gLlama8b,
  blockSize: options.blockSize,
  blocks: options.blocks,
  maxBatch: options.maxBatch,
  maxBatchedTokens: options.maxBatchedTokens,
})
