import { llama8b } from '../engine/parameters.js'
import { h100, h100Settings } from './h100.js'
import type { PodClass } from './pod-class.js'

/**
 * 447k tokens of KV cache, 6 ms to read the weights, 39,600 prefilled tokens/s at most. On the H100 NVL, which has 94 GB,
 * vLLM is reported to have room for 543k tokens of this model; these formulas give 537k there.
 */
export const h1008b: PodClass = {
  name: 'h100-8b',
  summary: 'Llama 3.1 8B in 16 bits on one NVIDIA H100 SXM',
  gpu: h100,
  model: llama8b,
  settings: h100Settings,
}
