/** How the router learns what the engines hold and how busy they are: KV events, metrics, slow start. */
import { z } from 'zod'
import { eventTopic, firstSequence, zmqEndpoint } from '../data/pod-schema.js'
import { count, ms, urlPath } from '../yaml/fields.js'

/** A port of engines that is used only if it is set. */
const enginePort = (text: string) => count(0, 0, 65_535, `${text} 0 = none.`)

export const kvEvents = z
  .strictObject({
    // Off: engines publish only if they are started with --kv-events-config.
    port: enginePort("Port on each pod's host that its KV events are published on (vLLM: 5557)."),
    replayPort: enginePort(
      "Port on each pod's host that lost events are asked for on (its replay_endpoint).",
    ),
    topic: eventTopic,
    firstSequence,
    bind: z
      .array(zmqEndpoint('bind', 'A ZMQ endpoint that the router listens on: tcp://*:5557.'))
      .default([])
      .describe(
        'Addresses that engines dial to publish, told apart by their topic kv@<ip:port or pod id>@<model>.',
      ),
  })
  .prefault({})
  .describe('KV events of the pods that have no kvEvents of their own.')

export const scrape = z
  .strictObject({
    // Queues change within a second; what the router sends itself it counts itself, between two looks.
    // What a page said counts for 10 s (the native core's FRESH_MS), in which one look of two may go wrong.
    intervalMs: ms(1_000, "Between two looks at a pod's metrics; 0 = never.", 0, 5_000),
    // Where the queue is long or the cache full, a second is many decisions.
    fastMs: ms(250, 'The same for a pod near saturation.', 50),
    // As a health check: an engine that takes longer than that for its metrics is busy with something else.
    timeoutMs: ms(2_000, 'For the metrics to be answered; later counts as failed.'),
    // vLLM, SGLang, llama.cpp and Triton have them there; trtllm-serve's are also found at /prometheus/metrics.
    path: urlPath("Path of the metrics, below the pod's base path.").default('/metrics'),
  })
  .prefault({})
  .describe("Reading the engines' own metrics: queues, cache use, block size.")

// A new pod's empty queue and empty cache would draw every new conversation at once. Half a minute is a few dozen
// prompts long: its cache is then as useful as the others', and their queues have moved on.
export const slowStartMs = ms(
  30_000,
  "Time in which a new pod's share of new work grows to its full size; 0 = at once.",
  0,
)
