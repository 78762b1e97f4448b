/**
 * Several GPUs as one: arithmetic, bandwidth and memory add up, and what they must tell each other costs time. Per layer
 * there are two all-reduces (behind attention and behind the feed-forward part; Shoeybi et al., Megatron-LM, 2019) of
 * hidden size × 2 bytes a token. A ring moves 2·(n−1)/n of that over each GPU's links.
 */
import type { EngineSettings, GpuSpec, ModelSpec } from '../engine/parameters.js'

/**
 * NVLink 4 of the H100 SXM (data sheet): 900 GB/s in both directions together, so 450 GB/s in each. Assumed: 80 % of it
 * in large messages, and 10 µs for a small one, as custom all-reduce kernels of engines take inside a CUDA graph.
 */
const NVLINK = { bandwidth: 450e9, efficiency: 0.8, latencyMs: 0.01 }

const BYTES_PER_ACTIVATION = 2

/** `count` GPUs seen as one, with their communication in the efficiency of its arithmetic. */
export function tensorParallel(gpu: GpuSpec, model: ModelSpec, count: number): GpuSpec {
  const flops = gpu.flops * count
  const weights = model.parameters - model.embeddingParameters
  const computeMs = (2 * weights * 1000) / (flops * gpu.flopsEfficiency)
  const share = computeMs / (computeMs + messageMs(model, count))
  return {
    ...gpu,
    flops,
    bandwidth: gpu.bandwidth * count,
    memory: gpu.memory * count,
    network: gpu.network * count,
    flopsEfficiency: gpu.flopsEfficiency * share,
  }
}

/** The settings, with workspace on each GPU and the latency of a step's all-reduces. */
export function parallelSettings(settings: EngineSettings, model: ModelSpec, count: number): EngineSettings {
  return {
    ...settings,
    workspace: settings.workspace * count,
    stepOverheadMs: settings.stepOverheadMs + 2 * model.layers * NVLINK.latencyMs,
  }
}

/** Sending of one token's activations in all layers, ms. */
function messageMs(model: ModelSpec, count: number): number {
  const bytes = 2 * model.layers * model.hiddenSize * BYTES_PER_ACTIVATION
  return (bytes * ((2 * (count - 1)) / count) * 1000) / (NVLINK.bandwidth * NVLINK.efficiency)
}
