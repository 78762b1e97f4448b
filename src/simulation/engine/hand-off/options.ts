/** Options of an engine's part in a disaggregated fleet: its role, how KV blocks are handed over, and how fast. */
import { z } from 'zod'

/** `both` serves requests whole and plays either part; the rest as their names say. */
export const ROLES = ['both', 'prefill', 'decode', 'encode'] as const
export type Role = (typeof ROLES)[number]

/** The protocols of a hand-off, each in the file of its name. */
export const KV_CONNECTORS = ['nixl', 'p2p-nccl', 'mooncake', 'sglang', 'generic'] as const
export type KvConnectorName = (typeof KV_CONNECTORS)[number]

/**
 * Ports the real engines listen on unless told otherwise: vLLM's VLLM_NIXL_SIDE_CHANNEL_PORT, `kv_port` of its
 * KVTransferConfig, VLLM_MOONCAKE_BOOTSTRAP_PORT, and SGLang's --disaggregation-bootstrap-port.
 */
const PORTS: Readonly<Record<KvConnectorName, number>> = {
  nixl: 5600,
  'p2p-nccl': 14_579,
  mooncake: 8998,
  sglang: 8998,
  generic: 0,
}
/** vLLM's VLLM_EC_SIDE_CHANNEL_PORT. */
const ENCODE_PORT = 5601

/**
 * Seconds that one leg waits for the other.
 * - nixl: `kv_lease_duration` of vLLM 0.32, after which blocks that nobody pulled are freed. Versions up to 0.2x had
 *   480 there (VLLM_NIXL_ABORT_REQUEST_TIMEOUT).
 * - mooncake: VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT, on both sides.
 * - sglang: SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT and …_WAITING_TIMEOUT, both 300.
 * - p2p-nccl: vLLM waits for ever; a test must end, so SGLang's figure stands in.
 * - generic: nobody waits; a decode engine asks for what is there, and computes it if that takes longer than most
 *   prefills would.
 */
const TIMEOUTS: Readonly<Record<KvConnectorName, number>> = {
  nixl: 30,
  'p2p-nccl': 300,
  mooncake: 480,
  sglang: 300,
  generic: 5,
}

export const handOffFields = {
  role: z.enum(ROLES).default('both').describe('Part in a disaggregated fleet; both serves requests whole'),
  kvConnector: z
    .enum(KV_CONNECTORS)
    .optional()
    .describe('Protocol by which KV blocks go from prefill to decode engines; prefill and decode need one'),
  kvHost: z
    .string()
    .min(1)
    .optional()
    .describe('Host by which other engines reach this one; default: --host'),
  kvPort: z
    .number()
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe(
      'Port of the NIXL side channel (5600), the P2pNccl address (14579), the bootstrap server of Mooncake and SGLang ' +
        '(8998) or an encoder (5601); 0 takes a free one. An SGLang decode engine takes it for bootstrap_port: null',
    ),
  kvTimeout: z
    .number()
    .positive()
    .max(86_400)
    .optional()
    .describe(
      'Seconds that one leg of a hand-off waits for the other; default: nixl 30, mooncake 480, sglang and p2p-nccl 300, generic 5',
    ),
  // 100 Gbit/s: the network of the largest instance with the default GPU (AWS g5.48xlarge, data sheet).
  kvBandwidth: z
    .number()
    .positive()
    .default(100)
    .describe('Bandwidth at which KV blocks come from another engine, Gbit/s'),
  // vLLM's own default since 0.1x of kv_load_failure_policy.
  kvLoadFailure: z
    .enum(['fail', 'recompute'])
    .default('fail')
    .describe(
      'What a vLLM decode engine does if KV blocks do not come: fail the request, or prefill it itself',
    ),
  engineId: z
    .string()
    .min(1)
    .optional()
    .describe('Name in hand-offs (remote_engine_id); default: a random UUID'),
  // 2 FLOP × 0.67e9 parameters (vision encoder of Qwen2.5-VL) × 4,096 patches (896 × 896 pixels, 14 each way) at 60 %
  // of an A10G's 70 TFLOPS: 131 ms.
  encodeMs: z
    .number()
    .min(0)
    .default(130)
    .describe('Milliseconds to encode one image or sound, where no encode engine has done it'),
  encodes: z
    .boolean()
    .default(true)
    .describe(
      'Has an encoder of its own; without, media whose embeddings no encode engine gives are refused',
    ),
}

/** What of the engine's options the hand-off reads. */
export interface HandOffOptions {
  readonly host: string
  readonly role: Role
  readonly kvConnector?: KvConnectorName | undefined
  readonly kvHost?: string | undefined
  readonly kvPort?: number | undefined
  readonly kvTimeout?: number | undefined
}

/** Complaints about options that don't go together: the field, and what to do. */
export function conflictOf({ role, kvConnector }: HandOffOptions): { field: string; message: string } | null {
  const isLeg = role === 'prefill' || role === 'decode'
  if (isLeg && kvConnector === undefined) {
    return {
      field: 'kvConnector',
      message: `role ${role} needs one of ${KV_CONNECTORS.join(', ')}: say how KV blocks are handed over`,
    }
  }
  if (role === 'encode' && kvConnector !== undefined) {
    return { field: 'kvConnector', message: 'an encode engine hands over no KV blocks: leave it out' }
  }
  if (!isLeg && (kvConnector === 'p2p-nccl' || kvConnector === 'sglang')) {
    return { field: 'role', message: `${kvConnector} engines play one part: set role to prefill or decode` }
  }
  return null
}

export const kvPortOf = ({ role, kvConnector, kvPort }: HandOffOptions): number =>
  kvPort ?? (role === 'encode' || kvConnector === undefined ? ENCODE_PORT : PORTS[kvConnector])

export const kvTimeoutMs = ({ kvConnector, kvTimeout }: HandOffOptions): number =>
  (kvTimeout ?? (kvConnector === undefined ? 30 : TIMEOUTS[kvConnector])) * 1000
