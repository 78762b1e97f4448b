import { a10g, llama8b, vllmSettings } from '../engine/parameters.js'
import type { PodClass } from './pod-class.js'

/** Sources beside the figures in ../engine/parameters.ts. */
export const a10g8b: PodClass = {
  name: 'a10g-8b',
  summary: 'Llama 3.1 8B in 16 bits on one NVIDIA A10G',
  gpu: a10g,
  model: llama8b,
  settings: vllmSettings,
}
