/** The router as the demo starts it: the real one, configured as a file would. */
import { configSchema, toRouterOptions } from '../config/schema.js'
import { startRouter } from '../server/router.js'

export interface DemoPod {
  readonly id: string
  readonly url: string
  /** Where it publishes its KV events, if the router is to follow them. */
  readonly kvEvents?: { readonly endpoint: string; readonly replay: string }
}

export interface DemoFleet {
  readonly pods: readonly DemoPod[]
  readonly model: string
  /** Directory with the model's tokenizer. */
  readonly modelDir: string
  readonly blockSize: number
  readonly profile: string
  /** 0 takes a free one. */
  readonly port: number
  /** Worker threads; absent: the router's own default. */
  readonly workers?: number
  /** Blocks of an engine, where the router should predict no more than that many; absent: its own default. */
  readonly predictedBlocks?: number
}

/** What the demo needs of a router. */
export interface DemoRouter {
  readonly url: string
  readonly adminUrl: string
  close(): Promise<void>
}

export function startDemoRouter(fleet: DemoFleet): Promise<DemoRouter> {
  const config = configSchema.parse({
    listen: { host: '127.0.0.1', port: fleet.port, workers: fleet.workers ?? 'auto' },
    admin: { host: '127.0.0.1', port: 0 },
    pods: [...fleet.pods],
    models: [{ name: fleet.model, dir: fleet.modelDir, blockSize: fleet.blockSize }],
    cache: fleet.predictedBlocks === undefined ? {} : { predictedBlocks: fleet.predictedBlocks },
    defaults: { profile: fleet.profile },
    log: { level: 'warn' },
  })
  return startRouter(toRouterOptions(config))
}
