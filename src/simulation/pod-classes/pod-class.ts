/** A kind of pod: hardware, model, engine settings, and where each figure is from. */
import {
  deriveParameters,
  type EngineParameters,
  type EngineSettings,
  type GpuSpec,
  type ModelSpec,
} from '../engine/parameters.js'

export interface PodClass {
  /** As `--fleet` calls it; the name of its file. */
  readonly name: string
  /** One line for people. */
  readonly summary: string
  readonly gpu: GpuSpec
  readonly model: ModelSpec
  readonly settings: EngineSettings
}

/** What a fleet may say otherwise than the class. */
export interface PodOverrides {
  /** Tokens in a KV block. */
  readonly blockSize?: number | undefined
  /** Tokens that the KV cache holds, rounded down to whole blocks. */
  readonly kvTokens?: number | undefined
  /** Most requests in a step. */
  readonly maxBatch?: number | undefined
  /** Most tokens in a step. */
  readonly maxBatchedTokens?: number | undefined
}

/** The engine of such a pod. Throws a RangeError where no block is left. */
export function parametersFor(podClass: PodClass, overrides: PodOverrides = {}): EngineParameters {
  const { gpu, model, settings } = podClass
  const {
    blockSize = settings.blockSize,
    maxBatch = settings.maxBatch,
    maxBatchedTokens = settings.maxBatchedTokens,
  } = overrides
  const derived = deriveParameters(gpu, model, { ...settings, blockSize, maxBatch, maxBatchedTokens })
  if (overrides.kvTokens === undefined) return derived
  const blocks = Math.floor(overrides.kvTokens / blockSize)
  if (blocks < 1) throw new RangeError(`${overrides.kvTokens} tokens are less than one block of ${blockSize}`)
  return { ...derived, blocks }
}
