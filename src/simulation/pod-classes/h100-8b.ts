import { llama8b } from '../engine/parameters.js'
import { h100, h100Settings } from './h100.js'
import type { PodClass } from './pod-class.js'

/**
 * 447k tokens of KV cache, 6 ms to read the weights, 39,500 prefilled tokens/s at most. vLLM users report 543k tokens for this model
 * on the H100 NVL, which has 94 GB: these formulas give 561k there.
 */
export const h1008b: PodClass = {
  name: 'h100-8b',
  summary: 'Llama 3.1 8B in 16 bits on one NVIDIA H100 SXM',
  gpu: h100,
  model: llama8b,
  settings: h100Settings,
}
