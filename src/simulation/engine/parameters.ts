/**
 * What the engine model knows about hardware, weights and scheduler settings, and the figures of its default: an
 * 8-billion-parameter model in 16 bits on one NVIDIA A10G.
 *
 * All numbers come from data sheets and the model's own shape through the formulas here; two efficiencies and one
 * overhead are assumptions and say so.
 */

/** A GPU as its data sheet gives it, and how much of that a serving engine gets. */
export interface GpuSpec {
  /** Dense 16-bit tensor operations, FLOP/s. */
  readonly flops: number
  /** Memory bandwidth, bytes/s. */
  readonly bandwidth: number
  /** Usable memory, bytes. */
  readonly memory: number
  /** What its network card moves in each direction, bytes/s. */
  readonly network: number
  /** Part of `flops` that large matrix products reach. */
  readonly flopsEfficiency: number
  /** Part of `bandwidth` that streaming reads reach. */
  readonly bandwidthEfficiency: number
  /** Part of `network` that reads of a remote GPU's KV blocks reach. */
  readonly networkEfficiency: number
}

/** A dense decoder as its config.json gives it. */
export interface ModelSpec {
  readonly parameters: number
  /** Parameters of the embedding table: read by lookup, so no matrix product is done with them. */
  readonly embeddingParameters: number
  readonly layers: number
  readonly hiddenSize: number
  readonly kvHeads: number
  readonly headSize: number
  readonly bytesPerWeight: number
  readonly bytesPerKvValue: number
}

/** The settings of the engine and the costs that follow from hardware and model. Times are milliseconds. */
export interface EngineParameters {
  /** Tokens in a KV block. */
  readonly blockSize: number
  /** KV blocks in all. */
  readonly blocks: number
  /** Most requests in a step (vLLM's `max_num_seqs`). */
  readonly maxBatch: number
  /** Most tokens in a step (vLLM's `max_num_batched_tokens`); longer prefills are cut into chunks of it. */
  readonly maxBatchedTokens: number
  /** Scheduling, kernel launches and sampling of a step, whatever its size. */
  readonly stepOverheadMs: number
  /** Reading all weights once: the least that any step's matrix products take. */
  readonly weightReadMs: number
  /** Matrix products per token, once there are enough tokens to be bound by arithmetic. */
  readonly linearMsPerToken: number
  /** Attention arithmetic per pair of a new token and a token that it sees. */
  readonly attentionMsPerPair: number
  /** Reading the keys and values of one token of context. */
  readonly kvReadMsPerToken: number
  /** Moving the keys and values of one token to another pod, or from it. */
  readonly transferMsPerToken: number
  /** What a hand-off takes besides, whatever its size. */
  readonly transferLatencyMs: number
}

/** Scheduler settings; the costs are derived. */
export interface EngineSettings {
  readonly blockSize: number
  readonly maxBatch: number
  readonly maxBatchedTokens: number
  readonly stepOverheadMs: number
  /** Part of the GPU's memory that the engine may take (vLLM's `gpu_memory_utilization`). */
  readonly memoryUtilisation: number
  /** Bytes for activations, CUDA graphs and the runtime itself. */
  readonly workspace: number
  /** Of a hand-off of KV blocks: finding the other engine, descriptors, the notice that it is done. */
  readonly transferLatencyMs: number
}

/**
 * NVIDIA A10G (data sheet): 70 TFLOPS dense BF16, 600 GB/s, 24 GB, of which the driver reports 22,731 MiB usable.
 * Assumed: 60 % of peak arithmetic in large products and 80 % of peak bandwidth, both within what vendors' own
 * libraries are reported to reach on this class of card. Network: AWS's g5.48xlarge has 100 Gbit/s for eight of them; 80 %
 * of it assumed.
 */
export const a10g: GpuSpec = {
  flops: 70e12,
  bandwidth: 600e9,
  memory: 22_731 * 1024 * 1024,
  network: 100e9 / 8 / 8,
  networkEfficiency: 0.8,
  flopsEfficiency: 0.6,
  bandwidthEfficiency: 0.8,
}

/** Llama 3.1 8B (its config.json): 32 layers, hidden 4,096, 8 KV heads of 128, vocabulary 128,256. */
export const llama8b: ModelSpec = {
  parameters: 8.03e9,
  embeddingParameters: 128_256 * 4096,
  layers: 32,
  hiddenSize: 4096,
  kvHeads: 8,
  headSize: 128,
  bytesPerWeight: 2,
  bytesPerKvValue: 2,
}

/**
 * vLLM's defaults on such a card: block 16, 256 sequences, 2,048 tokens a step, 92 % of memory. Assumed: 2 ms of
 * overhead a step (vLLM V1's scheduler and launch cost at batch sizes of tens), 1.5 GB of workspace, 5 ms for a hand-off
 * (a few messages between the engines, each handled between two steps).
 */
export const vllmSettings: EngineSettings = {
  blockSize: 16,
  maxBatch: 256,
  maxBatchedTokens: 2048,
  stepOverheadMs: 2,
  memoryUtilisation: 0.92,
  workspace: 1.5e9,
  transferLatencyMs: 5,
}

/** Bytes of keys and values per token: two (K, V) per layer, KV head and head dimension. */
export const kvBytesPerToken = (model: ModelSpec): number =>
  2 * model.layers * model.kvHeads * model.headSize * model.bytesPerKvValue

/**
 * The roofline costs of a model on a GPU.
 * - matrix products: 2 FLOP per weight and token, at least one read of all weights per step;
 * - attention: 4 × hidden size FLOP per layer and token pair (QKᵀ and the product with V, 2 each);
 * - KV reads: `kvBytesPerToken` per token of context;
 * - hand-offs: the same bytes per token over the network.
 */
export function deriveParameters(
  gpu: GpuSpec = a10g,
  model: ModelSpec = llama8b,
  settings: EngineSettings = vllmSettings,
): EngineParameters {
  const flopsPerMs = (gpu.flops * gpu.flopsEfficiency) / 1000
  const bytesPerMs = (gpu.bandwidth * gpu.bandwidthEfficiency) / 1000
  const weightBytes = model.parameters * model.bytesPerWeight
  const kvMemory = gpu.memory * settings.memoryUtilisation - weightBytes - settings.workspace
  const blocks = Math.floor(kvMemory / (kvBytesPerToken(model) * settings.blockSize))
  if (blocks < 1) throw new RangeError('the model leaves no memory for a KV block on this GPU')
  return {
    blockSize: settings.blockSize,
    blocks,
    maxBatch: settings.maxBatch,
    maxBatchedTokens: settings.maxBatchedTokens,
    stepOverheadMs: settings.stepOverheadMs,
    weightReadMs: weightBytes / bytesPerMs,
    linearMsPerToken: (2 * (model.parameters - model.embeddingParameters)) / flopsPerMs,
    attentionMsPerPair: (4 * model.hiddenSize * model.layers) / flopsPerMs,
    kvReadMsPerToken: kvBytesPerToken(model) / bytesPerMs,
    transferMsPerToken: (kvBytesPerToken(model) * 1000) / (gpu.network * gpu.networkEfficiency),
    transferLatencyMs: settings.transferLatencyMs,
  }
}

/**
 * The default: 2,082 blocks of 16 (33.3k tokens), 33.5 ms to read the weights, 0.36 ms per prefilled token (2,800
 * tokens/s), 12.5 ns per attention pair, 0.27 µs per token of context read.
 */
export const a10gLlama8b: EngineParameters = deriveParameters()
