/** Which steps of a request a pod takes, and how it hands over what it has computed. */

/**
 * `mixed`: whole requests, and nothing else. `prefill`, `decode`, `encode`: those steps. `both`: prefill and decode steps,
 * as vLLM's `kv_both`. With most connectors those that decode take whole requests too, see `servesWhole`.
 */
export const ROLES = ['mixed', 'prefill', 'decode', 'both', 'encode'] as const
export type PodRole = (typeof ROLES)[number]

/** The roles that a step can ask for. */
export const STEP_ROLES = ['prefill', 'decode', 'encode'] as const
export type StepRole = (typeof STEP_ROLES)[number]

/** What a pod of role `both` is kept to for the time being; see split/reassign.ts. */
export type Assignment = Exclude<StepRole, 'encode'>

/** How KV blocks get from pod to pod; see reference of each in src/execution/hand-off. */
export const CONNECTORS = ['nixl', 'p2p-nccl', 'mooncake', 'sglang', 'generic'] as const
export type Connector = (typeof CONNECTORS)[number]

/**
 * A P2pNccl pod's socket, `host:port`, IPv6 in brackets. It stands in request ids, a header: nothing in it may be read as
 * another part of the id.
 */
export const KV_ADDRESS = /^(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}$/

/** What a pod's hand-offs go by. */
export interface KvTransfer {
  readonly connector: Connector
  /** Of its bootstrap server, on the pod's host (SGLang, Mooncake). */
  readonly bootstrapPort: number
  /** host:port of its ZMQ socket (P2pNccl). */
  readonly address?: string | undefined
}

/** And what was learned of it since. */
export interface LiveTransfer extends KvTransfer {
  /** Ids of its engines by data-parallel rank, as its bootstrap server tells them (Mooncake); absent: not known yet. */
  readonly engines?: ReadonlyMap<number, string> | undefined
}

/** As the pod schema's defaults have it, for pods that were added without one. */
export const DEFAULT_TRANSFER: LiveTransfer = { connector: 'nixl', bootstrapPort: 8998 }

/** What decides on a pod's steps. */
export interface Playing {
  readonly role: PodRole
  /** Of role `both` alone; undefined: it takes both steps. */
  readonly assigned?: Assignment | undefined
}

/**
 * Whether a pod answers whole requests. vLLM's decode pods do with connectors that pull blocks where a request names
 * some. An SGLang server in decode mode waits for a bootstrap that never comes, and P2pNccl's worker raises for a request
 * whose id names no pair of pods; with these only a pod of role mixed does, one that was started without. A pod that is
 * assigned to decode could do all that before, and still can.
 */
export function servesWhole({ role, assigned }: Playing, connector: Connector): boolean {
  if (role === 'mixed') return true
  if (connector === 'sglang' || connector === 'p2p-nccl') return false
  return role === 'decode' || (role === 'both' && assigned !== 'prefill')
}

/**
 * Whether a pod can be sent a prefill: decode must be told which engine of a Mooncake pod has the blocks, and who that is
 * only its bootstrap server knows.
 */
export const canHandOver = ({ connector, engines }: LiveTransfer, rank = 0): boolean =>
  connector !== 'mooncake' || engines?.has(rank) === true

export function takesStep({ role, assigned }: Playing, step: StepRole): boolean {
  if (role !== 'both') return role === step
  return assigned === undefined ? step !== 'encode' : assigned === step
}
