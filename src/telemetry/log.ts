/**
 * The log: pino, on standard error, so that what a command prints stays clean for pipes.
 *
 * Lines go straight to the descriptor and synchronously: a line that was logged is out even if the process aborts
 * right after it (a dying uWebSockets.js worker takes all threads with it), and one line is one write(2), which the
 * kernel does not interleave, so that any thread may have a logger of its own. Nothing on the request path logs at the
 * default level, so the cost of a synchronous write is not on it either.
 */
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export const LOG_FORMATS = ['auto', 'json', 'text'] as const

export interface LogOptions {
  readonly level: (typeof LOG_LEVELS)[number]
  /** `auto`: text on a terminal, JSON lines elsewhere. */
  readonly format: (typeof LOG_FORMATS)[number]
}

const STDERR = 2

/** Makes a thread's logger. `fields` go into every line: a worker gives `{ worker: n }`. */
export function createLogger(
  options: LogOptions,
  fields: Readonly<Record<string, unknown>> = {},
  out: DestinationStream = destinationFor(options.format),
): Logger {
  return pino(
    {
      level: options.level,
      base: fields,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: level => ({ level }) },
    },
    out,
  )
}

/**
 * Answers true the first time it sees a key: `if (once('text-hash qwen3')) log.warn(…)`. It remembers at most `limit`
 * keys, since a key may hold what a client sent, and stays silent beyond.
 */
export function saidOnce(limit = 1024): (key: string) => boolean {
  const said = new Set<string>()
  return key => {
    if (said.has(key) || said.size >= limit) return false
    said.add(key)
    return true
  }
}

function destinationFor(format: LogOptions['format']): DestinationStream {
  const text = format === 'text' || (format === 'auto' && isatty(STDERR))
  return text ? { write: line => writeText(toText(line)) } : destination({ dest: STDERR, sync: true })
}

function writeText(line: string): void {
  try {
    writeSync(STDERR, line)
  } catch {
    // A terminal that is gone (EPIPE) or cannot keep up (EAGAIN) must not bring the router down; the line is lost.
  }
}

/** `12:00:01.250 WARN  message  key=value …`, of a line of JSON. */
export function toText(line: string): string {
  const record: unknown = JSON.parse(line)
  if (typeof record !== 'object' || record === null) return line
  const { time, level, msg, err, ...rest } = { time: '', level: '', msg: '', err: undefined, ...record }
  const fields = Object.entries(rest).map(([key, value]) => `  ${key}=${show(value)}`)
  const clock = String(time).slice(11, 23)
  return `${clock} ${String(level).toUpperCase().padEnd(5)} ${msg}${fields.join('')}${showError(err)}\n`
}

const show = (value: unknown): string =>
  typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)

function showError(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  const text = 'stack' in error ? error.stack : 'message' in error ? error.message : ''
  return `\n  ${String(text).replaceAll('\n', '\n  ')}`
}
