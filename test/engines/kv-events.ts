/** Where and how an engine publishes its KV events. */

export interface EventOptions {
  /** Data-parallel rank r publishes at port + r … */
  readonly port: number
  /** … and replays at replayPort + r. */
  readonly replayPort: number
  readonly topic: string
  /** Batches kept for replays. Default: 10,000, as vLLM's and SGLang's own. */
  readonly bufferSteps?: number | undefined
}

/** Value of `--kv-events-config`. SGLang refuses fields that it does not know, vLLM publishes only if it is told to. */
export const kvEventsConfig = (options: EventOptions, more: object = {}): string =>
  JSON.stringify({
    ...more,
    publisher: 'zmq',
    endpoint: `tcp://*:${options.port}`,
    replay_endpoint: `tcp://*:${options.replayPort}`,
    topic: options.topic,
    buffer_steps: options.bufferSteps ?? 10_000,
  })
