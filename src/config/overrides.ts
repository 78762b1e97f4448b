/** Values from command-line flags, laid over those of the file before the schema sees them. */
import type { ConfigPath } from '../yaml/issue.js'

export interface Override {
  /** Where in the configuration; map keys only. */
  readonly path: readonly string[]
  /** Replaces what the file says, lists as a whole. */
  readonly value: unknown
  /** As typed, for messages: `--port`. */
  readonly flag: string
}

/** The data with the flags' values in it; the data itself stays as it is. */
export function applyOverrides(data: unknown, overrides: readonly Override[]): unknown {
  return overrides.reduce((result, { path, value }) => withValue(result, path, value), data)
}

function withValue(data: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value
  // A file whose section is no map is wrong anyway, and the schema shall say so.
  if (data !== undefined && data !== null && !isMap(data)) return data
  return { ...data, [key]: withValue(data?.[key], rest, value) }
}

/** The flag that brought the value at a path, or something within it. */
export function flagOf(path: ConfigPath, overrides: readonly Override[]): string | undefined {
  return overrides.find(override => override.path.every((part, i) => path[i] === part))?.flag
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
