/** How a run went over its time, in equal parts. */
import type { Recorder } from './recorder.js'

/** Parts: enough for a plot's width, few enough for a page with many runs. */
const PARTS = 80

export interface Series {
  /** Length of a part, ms. */
  readonly stepMs: number
  /** Requests on each pod on average over the part: by pod, then by part. */
  readonly inflight: readonly (readonly number[])[]
  /** Prompt tokens found in caches over all, of the requests that arrived in the part; null where none did. */
  readonly hitRate: readonly (number | null)[]
}

/** @param from the first arrival */
export function seriesOf(
  recorder: Recorder,
  done: readonly number[],
  lengthAt: (request: number) => number,
  pods: number,
  from: number,
  durationMs: number,
): Series {
  const stepMs = Math.max(durationMs, 1) / PARTS
  const inflight = Array.from({ length: pods }, () => new Float64Array(PARTS))
  const prompt = new Float64Array(PARTS)
  const cached = new Float64Array(PARTS)
  for (const at of done) {
    const start = (recorder.arrivedAt[at] ?? 0) - from
    const end = (recorder.endedAt[at] ?? 0) - from
    addOverlaps(inflight[recorder.pod[at] ?? -1], start / stepMs, end / stepMs)
    const part = Math.min(PARTS - 1, Math.floor(start / stepMs))
    prompt[part] = (prompt[part] ?? 0) + lengthAt(at)
    cached[part] = (cached[part] ?? 0) + (recorder.cachedTokens[at] ?? 0)
  }
  return {
    stepMs,
    inflight: inflight.map(parts => Array.from(parts, rounded)),
    hitRate: Array.from(prompt, (tokens, part) =>
      tokens === 0 ? null : rounded((cached[part] ?? 0) / tokens),
    ),
  }
}

/** Adds how much of each part lies between two places, counted in parts. */
function addOverlaps(parts: Float64Array | undefined, from: number, to: number): void {
  if (parts === undefined) return
  for (let part = Math.floor(from); part < Math.min(to, parts.length); part++) {
    const overlap = Math.min(to, part + 1) - Math.max(from, part)
    parts[part] = (parts[part] ?? 0) + overlap
  }
}

/** Four digits are more than a plot shows, and a third of the file. */
const rounded = (value: number): number => Number(value.toPrecision(4))
