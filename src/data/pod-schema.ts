/** The fields of a pod, as `pods:`, a file of pods and the admin port take them. */
import { z } from 'zod'
import { count, name } from '../yaml/fields.js'
import { CONNECTORS, KV_ADDRESS, ROLES } from './pod-role.js'
import { parsePodUrl, podIdOf } from './pod-url.js'
import { parseZmqEndpoint } from './zmq-endpoint.js'

/** The text of a pod URL, checked and without a trailing slash. */
const podUrl = z
  .string()
  .transform((text, ctx) => {
    const url = parsePodUrl(text)
    if ('origin' in url) return `${url.origin}${url.basePath}`
    ctx.addIssue({ code: 'custom', message: url.fault, params: { fix: url.fix } })
    return z.NEVER
  })
  .describe('Where the engine listens: http(s)://host:port, with a base path if it has one, without /v1.')

/** A ZMQ endpoint that the router connects to, or listens on. */
export const zmqEndpoint = (use: 'connect' | 'bind', text: string) =>
  z
    .string()
    .superRefine((endpoint, ctx) => {
      const parsed = parseZmqEndpoint(endpoint, use)
      if ('fault' in parsed)
        ctx.addIssue({ code: 'custom', message: parsed.fault, params: { fix: parsed.fix } })
    })
    .describe(text)

/** Topic that is subscribed to. Both vLLM and SGLang publish under the empty one unless told otherwise. */
export const eventTopic = z
  .string()
  .max(512)
  .default('')
  .describe('Topic of the events, or the beginning of it; empty: all that comes.')

// vLLM and SGLang count from 0, llm-d's simulator from 1. It matters: a first sequence above it means that events were
// missed before the router came.
export const firstSequence = count(
  0,
  0,
  1_000_000,
  "Sequence number of an engine's first batch: 0 for vLLM and SGLang, 1 for llm-d-inference-sim.",
)

const kvEventFields = z.strictObject({
  endpoint: zmqEndpoint(
    'connect',
    "Where its KV events are published: the endpoint of vLLM's or SGLang's --kv-events-config, with the engine's host.",
  ),
  replay: zmqEndpoint(
    'connect',
    'Where lost events are asked for again: its replay_endpoint. Default: they cannot be; the pod is then predicted.',
  ).optional(),
  topic: eventTopic,
  firstSequence,
})

const kvEvents = z
  .union([
    zmqEndpoint('connect', 'The endpoint alone.').transform(endpoint => kvEventFields.parse({ endpoint })),
    kvEventFields,
  ])
  .describe('Where it publishes its KV events. Default: at kvEvents.port of its host, if that is set.')

const kvTransfer = z
  .strictObject({
    connector: z
      .enum(CONNECTORS)
      .default('nixl')
      .describe(
        'Protocol that it was started with. `nixl`, `p2p-nccl` and `mooncake` are vLLM connectors. A pod of role decode ' +
          'or both with `nixl`, `mooncake` or `generic` serves whole requests too; with `p2p-nccl` and `sglang` none does.',
      ),
    // SGLang's own default. vLLM's MooncakeConnector has the same.
    bootstrapPort: count(
      8998,
      1,
      65_535,
      'Port of its bootstrap server (SGLang, Mooncake), on the host of its URL.',
    ),
    address: z
      .string()
      .regex(KV_ADDRESS, 'must be host:port, IPv6 in brackets')
      .optional()
      .describe('host:port of its ZMQ socket, which P2pNcclConnector puts into request ids. Default: none.'),
  })
  .superRefine(({ connector, address }, ctx) => {
    if (connector !== 'p2p-nccl' || address !== undefined) return
    const message = 'a pod with p2p-nccl needs one: its address stands in the id of each request'
    ctx.addIssue({
      code: 'custom',
      path: ['address'],
      message,
      params: { fix: 'write address: host:port, of its kv_port' },
    })
  })

/** What a pod may be given besides its place; records of DNS names have these too. */
export const podTraits = {
  models: z
    .array(name('Name of a model.'))
    .min(1)
    .optional()
    .describe('Models that it serves. Default: its own /v1/models says.'),
  labels: z
    .record(name('Name of a label.'), z.string().describe('Value of a label.'))
    .default({})
    .describe('Free labels, for filters and metrics.'),
  // The engine's own queue is the better judge, so none by default; a profile's cap holds besides.
  maxInflight: count(0, 0, 1_000_000, 'Most requests in flight on it at once; 0 = no limit.'),
  // One engine process is one scheduler and one cache, mostly.
  dataParallel: count(
    1,
    1,
    256,
    'Data-parallel ranks behind its URL (--data-parallel-size), each with a cache of its own: they become the pods ' +
      '<id>-dp0 and on, are told apart by the x-data-parallel-rank header, and publish at port + rank.',
  ),
  role: z
    .enum(ROLES)
    .default('mixed')
    .describe(
      'Steps of a request that it takes: `mixed` whole requests; `prefill`, `decode` and `encode` those steps of ' +
        'workflows that have them; `both` prefill and decode. Whether decode and both take whole requests too its connector says.',
    ),
  kvTransfer: kvTransfer
    .optional()
    .describe('How it hands KV blocks over to other pods. Default: as vLLM with NixlConnector.'),
  variant: name(
    'Name of the models entry whose files it runs, for two versions of a model in one pool. Default: the entry of the ' +
      'model that it serves.',
  ).optional(),
}

export const podSchema = z
  .strictObject({
    url: podUrl,
    id: name('Name in logs, metrics and x-phyllo-pod. Default: host:port of the URL.').optional(),
    ...podTraits,
    kvEvents: kvEvents.optional(),
    cordoned: z
      .boolean()
      .default(false)
      .describe('It takes no new requests until it is uncordoned on the admin port, or here.'),
  })
  .transform(value => ({ ...value, id: value.id ?? idOfUrl(value.url) }))
  .describe('An engine that answers requests.')

/** A pod as written, with its defaults. */
export type PodEntry = z.output<typeof podSchema>

function idOfUrl(url: string): string {
  const parsed = parsePodUrl(url)
  return 'origin' in parsed ? podIdOf(parsed) : url
}
