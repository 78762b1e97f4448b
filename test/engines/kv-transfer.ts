/** How a vLLM hands KV blocks to another, or takes them: NIXL over TCP and shared memory of one machine. */

export interface KvTransferOptions {
  /** `kv_producer` prefills, `kv_consumer` decodes; NixlConnector itself lets each do both. */
  readonly role: 'kv_producer' | 'kv_consumer' | 'kv_both'
  /** What hand-offs call this engine (`remote_engine_id`). vLLM's default is a new UUID at each start. */
  readonly engineId: string
  /** Where others ask for its memory layout before their first pull; TCP, rank r at port + r. */
  readonly sideChannel: { readonly host: string; readonly port: number }
  /**
   * Seconds that blocks of a finished prefill are kept for whoever pulls them. vLLM's default: 30. A decode engine that has
   * the request waiting renews it every sixth of that. (Before 0.32: VLLM_NIXL_ABORT_REQUEST_TIMEOUT; it is gone.)
   */
  readonly leaseSeconds?: number | undefined
  /** What a decode engine does if it cannot pull: end the request with an error (vLLM's default), or prefill itself. */
  readonly onLoadFailure?: 'fail' | 'recompute' | undefined
}

/** Value of `--kv-transfer-config`. */
export const kvTransferConfig = (options: KvTransferOptions): string =>
  JSON.stringify({
    kv_connector: 'NixlConnector',
    kv_role: options.role,
    kv_buffer_device: 'cpu',
    engine_id: options.engineId,
    kv_load_failure_policy: options.onLoadFailure ?? 'fail',
    kv_connector_extra_config: { kv_lease_duration: options.leaseSeconds ?? 30 },
  })

export const kvTransferEnvironment = ({ sideChannel }: KvTransferOptions): NodeJS.ProcessEnv => ({
  VLLM_NIXL_SIDE_CHANNEL_HOST: sideChannel.host,
  VLLM_NIXL_SIDE_CHANNEL_PORT: `${sideChannel.port}`,
  // UCX would try each of the machine's networks; these two processes share one machine.
  UCX_TLS: 'tcp,self,sysv,posix',
  UCX_NET_DEVICES: 'lo',
  // Read by the line that python/nixl_progress.py puts in; microseconds.
  NIXL_PTHR_DELAY_US: '1000',
})
