/** What the log says of plugins that fail: each kind of failure once, since a broken plugin breaks on every request. */
import type { Logger } from '../telemetry/log.js'

export function logPluginFailure(
  log: Logger,
  once: (key: string) => boolean,
  profile: string,
  plugin: string,
  error: unknown,
): void {
  const reason = reasonOf(error)
  // A message may hold what a client sent: the beginning tells kinds of errors apart well enough.
  if (!once(`plugin ${profile} ${plugin} ${reason.slice(0, 40)}`)) return
  const what = `plugin '${plugin}' of profile '${profile}' failed, and requests are decided without it: ${reason}`
  log.error(
    reason === UNTELLABLE ? {} : { err: error },
    `${what} (said once; phyllo_plugin_failures_total counts)`,
  )
}

const UNTELLABLE = 'it threw what cannot be told as text'

/** Anything can be thrown, even what has no text; telling it must not fail in its turn. */
function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return UNTELLABLE
  }
}
