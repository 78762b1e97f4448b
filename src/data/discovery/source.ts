/**
 * A source of pods: anything that knows, again and again, which engines there are. One source, one file beside this
 * one; `discovery.ts` makes them from the options, the reconciler brings what they know together.
 */
import type { PodSpec } from '../pod-registry.js'

/** What a source tells of its looks. */
export interface SourceEvents {
  /** All pods that it knows, after every look that went well, changed or not. */
  found(pods: readonly PodSpec[]): void
  /** A look that went wrong, as a clause: `pods.yaml cannot be read: no such file`. What was found before holds. */
  failed(why: string): void
}

export interface PodSource {
  /** For log and metrics: `file pods.yaml`, `DNS A engines.default.svc`. */
  readonly name: string
  /** Begins to look; resolves after the first look, however that went. */
  start(events: SourceEvents): Promise<void>
  /** No more looks, and none of the events after it. */
  stop(): void
}
