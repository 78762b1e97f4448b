/**
 * What the router is started with: a plain description, complete, with every default filled in. `src/config` makes it
 * from a YAML file (its schema's output is pinned to this interface at compile time) and says there why each default
 * is what it is; tests, demos and library users may write it by hand. All of it can be cloned to a worker thread.
 *
 * Times are in milliseconds, sizes in bytes; a 0 switches a limit off only where that is said.
 */
import type { DiscoveryOptions } from '../data/discovery/discovery.js'
import type { HealthOptions } from '../data/health.js'
import type { FleetKvEvents, KvEventsSpec } from '../data/pod-events.js'
import type { KvTransfer, PodRole } from '../data/pod-role.js'
import type { ForwardTokens } from '../data/token-forwarding.js'
import type { DescribedWorkflows } from '../execution/workflows/described/schema.js'
import type { LogOptions } from '../telemetry/log.js'

/** The public port. */
export interface ListenOptions {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  /** `auto`: uWebSockets.js where it loads, node:http otherwise. */
  readonly engine: 'auto' | 'uws' | 'node'
  /** Worker threads that share the port; `auto`: one a core, four at most. node:http on Node 20 always has one. */
  readonly workers: number | 'auto'
  /** Most bytes of a request's header section; more is 431. */
  readonly maxHeaderBytes: number
}

/** The admin port: health, metrics, pods, explain. */
export interface AdminOptions {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
}

export interface LimitOptions {
  /** Most bytes of a request body; more is 413. */
  readonly bodyBytes: number
  /** Time within which a body must have come whole; longer is 408. */
  readonly bodyTimeoutMs: number
  /** Bodies from this size on are prepared on the thread pool, so that no prompt stalls a worker's event loop. */
  readonly asyncPrepareBytes: number
  /** Most bytes of bodies that wait for the thread pool or are on it, over all workers; more is 503. */
  readonly queuedPrepareBytes: number
}

export interface TimeoutOptions {
  /** To open a connection to a pod. */
  readonly connectMs: number
  /** From the request's last byte to the answer's first. */
  readonly firstByteMs: number
  /** Between two pieces of an answer. */
  readonly idleMs: number
  /** A whole request, retries included; 0 = no limit. */
  readonly requestMs: number
  /** That requests under way have to finish in when the router shuts down. */
  readonly drainMs: number
}

/** Connections to pods. */
export interface UpstreamOptions {
  /** Most connections to one pod from one worker. */
  readonly connections: number
  /** Time that an idle connection is kept for the next request. */
  readonly keepAliveMs: number
}

/** A pod as configured; fits PodSpec in data/pod-registry.ts. */
export interface PodOptions {
  /** `http(s)://host:port`, perhaps with a base path; no trailing slash. */
  readonly url: string
  /** Unique; `host:port` of the URL unless named. */
  readonly id: string
  /** Models that it serves; absent: asked of its `/v1/models`. */
  readonly models?: readonly string[] | undefined
  readonly labels: Readonly<Record<string, string>>
  /** Most requests in flight on it; 0 = no limit. */
  readonly maxInflight: number
  /** Where it publishes its KV events; absent: at RouterOptions.kvEvents.port of its host, if that is set. */
  readonly kvEvents?: KvEventsSpec | undefined
  /** Data-parallel ranks behind its URL: each becomes a pod of its own, `<id>-dp0` and on. 1: it is one pod. */
  readonly dataParallel: number
  /** Name of the `models` entry whose files it runs, where that is not the entry of the model that it serves. */
  readonly variant?: string | undefined
  /** It takes no new requests until it is uncordoned. */
  readonly cordoned: boolean
  /** Steps of a request that it takes; absent: whole requests. */
  readonly role?: PodRole | undefined
  /** How it hands KV blocks over; absent: as vLLM with NixlConnector. */
  readonly kvTransfer?: KvTransfer | undefined
}

/** KV events of the pods that have no `kvEvents` of their own, and of engines that dial out. */
export interface KvEventsOptions extends FleetKvEvents {
  /** Addresses that engines dial to publish; their topics `kv@<ip:port or pod id>@<model>` tell them apart. */
  readonly bind: readonly string[]
}

/** Reading the engines' own metrics. */
export interface ScrapeOptions {
  /** Between two looks at a pod; 0 = never. */
  readonly intervalMs: number
  /** The same for a pod near saturation. */
  readonly fastMs: number
  /** For an answer; later counts as failed. */
  readonly timeoutMs: number
  /** Path of the metrics, below the pod's base path. */
  readonly path: string
}

/** What the router knows of a model that it cannot ask a pod. */
export interface ServedModelOptions {
  /** As clients and pods call it; `*`: every model that has no entry of its own. */
  readonly name: string
  /** Absolute path of a directory with tokenizer.json; absent: text-hash fallback. */
  readonly dir?: string | undefined
  /** Template text that overrides the directory's. */
  readonly chatTemplate?: string | undefined
  /** Tokens per KV block of the engines that serve it. */
  readonly blockSize: number
  /** Name of its profile; absent: `defaults.profile`. */
  readonly profile?: string | undefined
  /** Other names that clients may ask for it by. */
  readonly aliases: readonly string[]
  /** Models that serve its requests, in this order, while no pod can serve it. */
  readonly fallbacks?: readonly string[] | undefined
  /** Whether engines that take token ids are sent the router's, instead of tokenizing a second time. */
  readonly forwardTokens: ForwardTokens
}

/** See SharedStateOptions in data/native.ts, which these become. */
export interface BreakerOptions {
  readonly failures: number
  readonly cooldownMs: number
  /** 0 switches the latency breaker off. */
  readonly latencyFactor: number
  readonly latencyFloorMs: number
}

export interface CacheOptions {
  /** Most pods that the index can hold. */
  readonly width: 64 | 256 | 1024
  readonly predictedBlocks: number
  readonly predictedTtlMs: number
  /** Bytes of exact and predicted cache state. */
  readonly maxBytes: number
  /** Most bytes of token ids that a tokenizer remembers of texts seen before; 0: none. */
  readonly tokenizerMemoBytes: number
  /** Worth of a cached token in CPU memory or on disk against one on the GPU, 0 to 1. */
  readonly lowerTierWorth: number
}

export interface SessionOptions {
  readonly max: number
  readonly ttlMs: number
}

/** How fleets of prefill and decode pods are measured and divided; see data/split. */
export interface DisaggregationOptions {
  /** Between two looks. */
  readonly everyMs: number
  readonly windowMs: number
  readonly reassign: {
    readonly enabled: boolean
    /** Fewest pods of a model that take each step. */
    readonly minPrefill: number
    readonly minDecode: number
    /** In pods, a half at least. */
    readonly hysteresis: number
    /** Between two changes of a model's pods; 0: none. */
    readonly cooldownMs: number
  }
}

/** The log of sampled decisions. */
export interface DecisionLogOptions {
  /** Absolute. */
  readonly path: string
  /** Part of the requests, 0 to 1. */
  readonly rate: number
  /** Size at which a file makes room for the next. */
  readonly maxBytes: number
  /** Files kept, the one being written among them. */
  readonly files: number
  /** Lines hold the beginning of the request's body. */
  readonly prompt: boolean
}

export interface RouterOptions {
  readonly listen: ListenOptions
  readonly admin: AdminOptions
  readonly limits: LimitOptions
  readonly timeouts: TimeoutOptions
  readonly upstream: UpstreamOptions
  readonly pods: readonly PodOptions[]
  readonly models: readonly ServedModelOptions[]
  readonly defaults: { readonly profile: string }
  /** Absolute paths of modules whose exported plugins profiles may name; each thread loads them. */
  readonly plugins: readonly string[]
  /**
   * Profiles as data, by name, beside the built-in ones (one of the same name takes the built-in's place); the decision
   * layer's `profileFromConfig` builds them.
   */
  readonly profiles: Readonly<Record<string, unknown>>
  /** Workflows as data, by name, beside those that ship; absent: none. */
  readonly workflows?: DescribedWorkflows | undefined
  /** Exact paths that go to a pod besides the API's own. A control path (see control-paths.ts) stays closed even so. */
  readonly passthrough: readonly string[]
  readonly kvEvents: KvEventsOptions
  readonly scrape: ScrapeOptions
  readonly discovery: DiscoveryOptions
  /** Time in which a new pod's share of new work grows to its full size; 0 = at once. */
  readonly slowStartMs: number
  readonly health: HealthOptions
  readonly breaker: BreakerOptions
  readonly cache: CacheOptions
  readonly sessions: SessionOptions
  readonly disaggregation: DisaggregationOptions
  readonly log: LogOptions
  /** Absent: none is kept. */
  readonly decisionLog?: DecisionLogOptions | undefined
}
