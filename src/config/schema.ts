/**
 * The one description of the configuration file: types, checks, defaults, docs and the JSON Schema for editors all
 * come from here. Its output is the server's RouterOptions, which a type assertion at the end of the file holds it to.
 *
 * Rules: every field says what it is, in which unit; unknown keys are refused; everything but `pods[].url` and
 * `models[].name` may be left out. Comments argue the defaults.
 */
import { z } from 'zod'
import type { RouterOptions } from '../server/options.js'
import { LOG_FORMATS, LOG_LEVELS } from '../telemetry/log.js'
import { bytes, count, host, ms, name, port, urlPath } from '../yaml/fields.js'
import { decisionLog } from './decision-log-schema.js'
import { disaggregation } from './disaggregation-schema.js'
import { discovery } from './discovery-schema.js'
import { kvEvents, scrape, slowStartMs } from './engine-state-schema.js'
import { fleetFields } from './fleet-schema.js'

const KiB = 1024
const MiB = 1024 * KiB

const listen = z
  .strictObject({
    // All IPv4 addresses, not `::`: a container without IPv6 could not bind that.
    host: host('0.0.0.0', 'Address that the public port listens on; `::` for IPv6.'),
    port: port(8080, 'Public port.'),
    engine: z
      .enum(['auto', 'uws', 'node'])
      .default('auto')
      .describe(
        'HTTP server: `uws` is uWebSockets.js, `node` is node:http; `auto` takes uws where it loads.',
      ),
    // Four workers at 65 µs a request carry some 60,000 requests/s, more than a fleet of 1,024 pods answers; more of
    // them would only multiply the connections to each pod.
    workers: z
      .union([z.literal('auto'), z.int().min(1).max(64)])
      .default('auto')
      .describe('Worker threads that share the port; `auto`: one a core, four at most.'),
    // Node's own default. The 4 KiB of uWebSockets.js are too few for long JWTs and tracing headers.
    maxHeaderBytes: bytes(16 * KiB, KiB, MiB, "Most bytes of a request's headers; more is answered 431."),
  })
  .prefault({})
  .describe('The public port.')

const admin = z
  .strictObject({
    // Whoever reaches this port can take pods out: nobody from outside, unless the operator says so.
    host: host('127.0.0.1', 'Address that the admin port listens on.'),
    port: port(9090, 'Admin port: /healthz, /readyz, /metrics, /pods, /explain.'),
  })
  .prefault({})
  .describe('The admin port. It has no authentication: keep it from the public.')

const limits = z
  .strictObject({
    // OpenAI takes 50 MB of images in one request, and a prompt of a million tokens is 5 MB: 64 MiB lets through what
    // clients are used to. A body is held in memory whole, so ten times as much would be an easy way to fill it.
    bodyBytes: bytes(64 * MiB, KiB, 1024 * MiB, 'Most bytes of a request body; more is answered 413.'),
    // 64 MiB in a minute are 9 Mbit/s, and uWebSockets.js itself drops what is slower than 16 KB/s.
    bodyTimeoutMs: ms(60_000, 'Time within which a body must have come whole; longer is answered 408.'),
    // Text never seen before is tokenized at 10–20 MB/s (2–5 by the tokenizers that only the `tokenizers` crate knows):
    // 16 KiB hold up a worker's other requests for 1–2 ms, 8 at worst. The detour over the thread pool costs 40–60 µs.
    asyncPrepareBytes: bytes(
      16 * KiB,
      0,
      1024 * MiB,
      'Bodies from this size on are tokenized on the thread pool instead of the event loop.',
    ),
    // A core does 10–20 MB/s of text never seen before. On four that event loops leave, what is let in waits for a second
    // or two, on one for three to six; whoever is refused had better try another router than wait longer. As much as the
    // largest body, so that one always fits.
    queuedPrepareBytes: bytes(
      64 * MiB,
      0,
      16 * 1024 * MiB,
      'Most bytes of bodies that wait to be tokenized on the thread pool, over all workers; more is answered 503.',
    ),
  })
  .prefault({})
  .describe('What a request may cost before it is refused.')

const timeouts = z
  .strictObject({
    // A lost SYN is sent again after 1 s (RFC 6298), so 2 s survive one loss; then the next best pod has its turn.
    connectMs: ms(2_000, 'To open a connection to a pod.'),
    // Without streaming, the first byte comes when the answer is complete, which takes minutes for a reasoning model.
    // OpenAI's own clients give up after 10 minutes.
    firstByteMs: ms(
      600_000,
      "From the end of the request to the answer's first byte; longer is answered 504.",
    ),
    // Tokens come many times a second; a pod that preempts or prefills others may pause for seconds.
    idleMs: ms(120_000, 'Between two pieces of an answer; then the stream is cut.'),
    // A net under everything else, so that nothing is held for ever.
    requestMs: ms(3_600_000, 'For a whole request, retries included; 0 = no limit.', 0),
    // Below the 30 s that Kubernetes grants between SIGTERM and SIGKILL.
    drainMs: ms(25_000, 'For requests under way to finish when the router shuts down.', 0),
  })
  .prefault({})
  .describe('How long to wait for what.')

const upstream = z
  .strictObject({
    // Engines run 256 to 1,024 sequences at once. Queueing belongs into the engine, which batches, not before it.
    connections: count(1_024, 1, 65_535, 'Most connections to one pod from one worker thread.'),
    // Uvicorn, which vLLM and SGLang run on, closes idle connections after 5 s: let go first, or requests meet a
    // connection that is just being closed.
    keepAliveMs: ms(4_000, 'Time that an idle connection to a pod is kept.'),
  })
  .prefault({})
  .describe('Connections to the pods.')

const health = z
  .strictObject({
    intervalMs: ms(5_000, 'Between two checks of a pod.'),
    timeoutMs: ms(2_000, 'For a check to be answered; later counts as failed.'),
    // vLLM, SGLang, TensorRT-LLM and llama.cpp all have it.
    path: urlPath("Path that is asked, below the pod's base path; any 2xx is healthy.").default('/health'),
    // One lost answer is no failure; three are 15 s, and the breaker has long acted on failing requests by then.
    unhealthyAfter: count(3, 1, 100, 'Failed checks in a row after which a pod takes no more requests.'),
    // Engines answer /health only when the model is loaded, so that one good answer is enough.
    healthyAfter: count(1, 1, 100, 'Good checks in a row after which a pod takes requests again.'),
  })
  .prefault({})
  .describe('Active health checks.')

const breaker = z
  .strictObject({
    failures: count(5, 1, 1_000, "Failures in a row that open a pod's circuit."),
    // An engine that restarts needs 30 s and more; a probe each 10 s costs next to nothing.
    cooldownMs: ms(10_000, 'Time that an open circuit rests before one request probes it.'),
    // Prompt lengths alone make averages differ by a factor of 2–3; five times the median is something else.
    latencyFactor: z
      .number()
      .min(0)
      .max(1_000)
      .default(5)
      .describe(
        "A pod whose streams' average time to the first byte exceeds the fleet's median this many times opens too; 0 = off.",
      ),
    latencyFloorMs: ms(2_000, 'No circuit opens for latency while the average is below this.', 0),
  })
  .prefault({})
  .describe('Circuit breakers, one a pod.')

const cache = z
  .strictObject({
    // Memory grows with it; 256 pods are 2,000 GPUs of eight-way fleets.
    width: z
      .literal([64, 256, 1024])
      .default(256)
      .describe('Most pods that the prefix index can hold: 64, 256 or 1024.'),
    // 32,768 blocks of 16 tokens are 524,288 tokens: about what an 80 GB GPU holds for an 8B model.
    predictedBlocks: count(
      32_768,
      1,
      16_777_216,
      'KV blocks remembered per pod as sent there; the least recently used go first.',
    ),
    // An idle engine keeps blocks for ever, a busy one turns its cache over within minutes; in between.
    predictedTtlMs: ms(600_000, 'Time that a predicted block counts without being used again.'),
    // 1,024 pods that hold 100,000 blocks each take 2.6 GB (conversations shared by pods) to 4.0 GB (each its own) as
    // exact state; 256 such pods, the default width, a quarter of that.
    maxBytes: bytes(
      2048 * MiB,
      MiB,
      1024 * 1024 * MiB,
      'Most memory of what is known of caches: over it, pods whose exact state is of least use become predicted, and the least recently used predicted blocks go.',
    ),
    // 16 million tokens, 4 bytes each: the last turns of 1,000 conversations of 16,000. What is not remembered is
    // tokenized again, 2,000 tokens in 0.5 ms, so more is worth it only to a router of many long conversations.
    tokenizerMemoBytes: bytes(
      64 * MiB,
      0,
      16 * 1024 * MiB,
      'Token ids remembered of texts seen before, per tokenizer and for all workers; the least useful go first. 0 = none.',
    ),
    // A block of 16 tokens comes back from CPU memory over PCIe in about 0.1 ms and from disk in about 1 ms, where its
    // prefill takes about 1.5 ms: most of the work is saved, and more of it than on a pod that has no block.
    lowerTierWorth: z
      .number()
      .min(0)
      .max(1)
      .default(0.8)
      .describe('Worth of a cached token in CPU memory or on disk against one on the GPU, 0 to 1.'),
  })
  .prefault({})
  .describe('What the router remembers of the KV caches.')

const sessions = z
  .strictObject({
    // About 100 bytes each: 10 MB.
    max: count(
      100_000,
      1,
      100_000_000,
      'Sessions and response ids remembered; the least recently used go first.',
    ),
    // People come back to a conversation within the hour; by then the pod has evicted its blocks.
    ttlMs: ms(3_600_000, 'Time that an unused session is remembered.'),
  })
  .prefault({})
  .describe('Session stickiness.')

const log = z
  .strictObject({
    level: z.enum(LOG_LEVELS).default('info').describe('Least severe level that is logged.'),
    format: z
      .enum(LOG_FORMATS)
      .default('auto')
      .describe('`json` lines or `text`; `auto` is text on a terminal and json elsewhere.'),
  })
  .prefault({})
  .describe('The log, on standard error.')

/** The configuration file. */
export const configSchema = z
  .strictObject({
    listen,
    admin,
    limits,
    timeouts,
    upstream,
    ...fleetFields,
    defaults: z
      .strictObject({
        profile: name('Profile of every model that names none.').default('cache-aware'),
      })
      .prefault({})
      .describe('What models use unless they say otherwise.'),
    kvEvents,
    scrape,
    discovery,
    slowStartMs,
    health,
    breaker,
    cache,
    sessions,
    disaggregation,
    log,
    decisionLog,
  })
  .describe('Configuration of the Phyllo LLM inference router.')

/** What may be written in the file. */
export type ConfigInput = z.input<typeof configSchema>
/** What comes out, with all defaults. */
export type RouterConfig = z.output<typeof configSchema>

/** Compiles only if the schema's output is what the server takes. */
export const toRouterOptions = (config: RouterConfig): RouterOptions => config
