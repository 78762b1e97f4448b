/** NVIDIA H100 SXM, and how vLLM is set up on it. */
import { type EngineSettings, type GpuSpec, vllmSettings } from '../engine/parameters.js'

/**
 * Data sheet of the H100 SXM5: 989.4 TFLOPS dense BF16 (the 1,979 that it prints are with sparsity), 3.35 TB/s of HBM3,
 * 80 GB, of which the driver reports 81,559 MiB. Assumed, as for the A10G: 60 % of peak arithmetic in large products
 * and 80 % of peak bandwidth. Network: a DGX H100 has a ConnectX-7 of 400 Gbit/s for each of its GPUs (its data sheet);
 * assumed, 80 % of that. Pods of one machine may hand over by NVLink, nine times as fast: this is the slower case.
 */
export const h100: GpuSpec = {
  flops: 989.4e12,
  bandwidth: 3.35e12,
  memory: 81_559 * 1024 * 1024,
  network: 400e9 / 8,
  networkEfficiency: 0.8,
  flopsEfficiency: 0.6,
  bandwidthEfficiency: 0.8,
}

/**
 * vLLM's defaults for its server on a GPU of 70 GiB or more that is no A100 (`EngineArgs`): 1,024 sequences and 8,192
 * tokens a step. Assumed: 4 GB of workspace, most of it activations for that many tokens.
 */
export const h100Settings: EngineSettings = {
  ...vllmSettings,
  maxBatch: 1024,
  maxBatchedTokens: 8192,
  workspace: 4e9,
}
