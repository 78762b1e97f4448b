/**
 * What `phyllo simulate` is told, by flags or by a scenario file with the same names in camelCase. The flags, their
 * help and their checks are made of this.
 */
import { z } from 'zod'
import { CONNECTORS } from '../../data/pod-role.js'
import { syntheticSchema } from '../traces/synthetic.js'

/** The engine model encodes no images. */
export const SIMULATED_ROLES = ['mixed', 'prefill', 'decode', 'both'] as const

export const TRACE_FORMATS = ['auto', 'mooncake', 'messages', 'burstgpt', 'azure'] as const

const time = (text: string) => z.number().min(0).max(1e9).describe(`${text} In milliseconds.`)
const positive = (text: string) => z.number().positive().describe(text)

const group = z.strictObject({
  class: z.string().describe('Name of the pod class.'),
  count: z.int().min(1).max(1024).default(1).describe('How many pods.'),
  blockSize: z.int().min(1).max(65_536).optional().describe('Tokens in a KV block.'),
  kvTokens: z.int().min(1).optional().describe('Tokens that the KV cache of a pod holds.'),
  maxBatch: z.int().min(1).optional().describe('Most requests in a step.'),
  maxBatchedTokens: z.int().min(1).optional().describe('Most tokens in a step.'),
  maxInflight: z
    .int()
    .min(0)
    .default(0)
    .describe('Most requests in flight that the router allows a pod; 0 = no limit.'),
  labels: z.record(z.string(), z.string()).default({}).describe('Labels of the pods.'),
  role: z
    .enum(SIMULATED_ROLES)
    .default('mixed')
    .describe('Steps of requests that the pods take, as in the configuration of a router.'),
  connector: z
    .enum(CONNECTORS)
    .default('nixl')
    .describe('How the pods hand KV blocks over: whether those that decode also serve whole requests.'),
})
export type FleetGroupOptions = z.output<typeof group>

export const simulationSchema = z.strictObject({
  trace: z.string().optional().describe('File with the requests; may be compressed with zstd or gzip.'),
  format: z
    .enum(TRACE_FORMATS)
    .default('auto')
    .describe('Form of the trace: Mooncake JSONL, OpenAI messages JSONL, BurstGPT CSV, Azure CSV.'),
  synthetic: syntheticSchema
    .optional()
    .describe('Instead of a trace, prompts with shared prefixes: groups=16,prompts=50,prefix=2048,…'),
  limit: z.int().min(1).optional().describe('Most requests.'),
  conversations: z
    .int()
    .min(1)
    .optional()
    .describe('Conversations of a messages trace; more than it has are taken as copies that differ.'),
  // A tool call of an agent takes about a second; for people at a keyboard, say 30,000.
  think: time('Mean time between an answer and the next turn, where the trace tells no times.').default(1000),
  rate: positive('Requests per second; a recorded trace is sped up or slowed down to it.').optional(),
  rateScale: positive('The recorded rate times this.').optional(),
  // Eight of the pods on which an 8B model is mostly served today.
  fleet: z
    .union([z.string(), z.array(group).min(1)])
    .default('h100-8b:8')
    .describe('Pods, as CLASS:COUNT,… or CLASS:COUNT:ROLE,…; see the list of classes below.'),
  blockSize: z.int().min(1).max(65_536).optional().describe('Tokens in a KV block of all pods.'),
  kvTokens: z.int().min(1).optional().describe('Tokens that the KV cache of each pod holds.'),
  profile: z.string().optional().describe('Profile to run: a name, or a YAML file.'),
  compare: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('Several profiles, run one after the other and put side by side.'),
  config: z
    .string()
    .optional()
    .describe("A router's configuration file: its profiles, plugins and cache settings are used."),
  modelDir: z
    .string()
    .optional()
    .describe("Directory with tokenizer.json for a messages trace; absent: the demo's."),
  seed: z.int().min(0).max(0xffff_ffff).default(1).describe('Seed of all that is random.'),
  eventLag: time(
    "Follow the engines' KV events, which arrive this late; absent: predict from what was sent.",
  ).optional(),
  // The router's own scrape interval.
  metricInterval: time("Time between two looks at a pod's metrics; 0 = never.").default(1000),
  metricAge: time('Age of the figures when they arrive.').default(0),
  decision: time('Time from the arrival of a request to its decision.').default(0),
  // Two seconds of silence is about what one waits before one doubts; ten tokens a second is twice as fast as one reads.
  sloTtft: time('Time to the first token that a good request keeps to.').default(2000),
  sloTpot: time('Time per further token that a good request keeps to.').default(100),
})

export type SimulationOptions = z.output<typeof simulationSchema>
export type SimulationInput = z.input<typeof simulationSchema>
