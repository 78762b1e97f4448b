/**
 * Engine-control paths: they change or reveal an engine rather than infer, so they never reach a pod from the public
 * port, not even when `passthrough` names them. Operators talk to the engine's own port for these.
 *
 * Sources: vLLM's api_server and its dev-mode, LoRA, profile, elastic and RLHF routers; SGLang's http_server;
 * llama.cpp's server README; TensorRT-LLM's openai_server.
 */

/** First words of control paths, after an optional `/v1`: the path itself and all below it is closed. */
const closed = [
  // vLLM
  'reset_prefix_cache',
  'reset_mm_cache',
  'reset_encoder_cache',
  'sleep',
  'wake_up',
  'is_sleeping',
  'pause',
  'resume',
  'is_paused',
  'collective_rpc',
  'server_info',
  'load_lora_adapter',
  'unload_lora_adapter',
  'scale_elastic_ep',
  'is_scaling_elastic_ep',
  'start_profile',
  'stop_profile',
  'init_weight_transfer_engine',
  'start_weight_update',
  'finish_weight_update',
  'update_weights',
  'get_world_size',
  'abort_requests',
  // SGLang
  'flush_cache',
  'clear_hicache_storage_backend',
  'hicache',
  'abort_request',
  'pause_generation',
  'continue_generation',
  'release_memory_occupation',
  'resume_memory_occupation',
  'update_weights_from_disk',
  'update_weights_from_tensor',
  'update_weights_from_distributed',
  'update_weights_from_ipc',
  'init_weights_update_group',
  'destroy_weights_update_group',
  'init_weights_send_group_for_remote_instance',
  'send_weights_to_remote_instance',
  'update_weight_version',
  'weights_checker',
  'get_weights_by_name',
  'get_internal_state',
  'set_internal_state',
  'get_server_info',
  'start_expert_distribution_record',
  'stop_expert_distribution_record',
  'dump_expert_distribution_record',
  'configure_logging',
  'freeze_gc',
  'slow_down',
  'set_trace_level',
  'add_external_corpus',
  'remove_external_corpus',
  'open_session',
  'close_session',
  // llama.cpp
  'slots',
  'props',
  'lora-adapters',
  'models/load',
  'models/unload',
  // TensorRT-LLM
  'kv_cache_events',
  'perf_metrics',
  // common to several: figures and descriptions of one pod, which the router answers for itself or not at all
  'metrics',
  'server-info',
  'load',
  'shutdown',
]

const pattern = new RegExp(`^/(?:v1/)?(?:${closed.join('|')})(?:/|$)`)

/**
 * Is this the path of an engine's controls? Judged as an engine's web framework may come to see it: percent signs
 * decoded, doubled slashes and dots resolved, in any case.
 */
export function isControlPath(path: string): boolean {
  return pattern.test(normalised(path))
}

function normalised(path: string): string {
  let text = path
  try {
    text = decodeURIComponent(path)
  } catch {
    // A stray percent sign: the text as it stands is all there is to judge.
  }
  const parts: string[] = []
  for (const part of text.toLowerCase().split(/[/\\]+/)) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}
