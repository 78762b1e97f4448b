/** The life of a command that serves until it is told to stop. */
import { describeError } from './failure.js'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/**
 * Waits for SIGTERM or SIGINT, runs `close` (which drains) and resolves. A second signal ends the process at once,
 * by the signal itself: `process.exit` runs exit handlers, and with a live uWebSockets.js thread that aborts.
 */
export async function serveUntilSignal(close: () => Promise<void>): Promise<void> {
  const signal = await nextSignal()
  process.stderr.write(`phyllo: ${signal}: finishing what is under way; once more ends at once\n`)
  for (const name of SIGNALS) process.once(name, endBySignal)
  await close()
  for (const name of SIGNALS) process.off(name, endBySignal)
}

function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    const heard = (signal: NodeJS.Signals): void => {
      for (const name of SIGNALS) process.off(name, heard)
      resolve(signal)
    }
    for (const name of SIGNALS) process.on(name, heard)
  })
}

function endBySignal(signal: NodeJS.Signals): void {
  // `once` has taken this handler off for this signal, so the default action applies.
  process.kill(process.pid, signal)
}

/** Ends the process when its work is done, even if a library still holds a timer or a socket. */
export function exitWith(code: number): never {
  process.exit(code)
}

/** For the last resort: an error that no command foresaw, with its stack, since it is a bug. */
export const reportBug = (error: unknown): string =>
  `phyllo: internal error: ${error instanceof Error ? (error.stack ?? error.message) : describeError(error)}\n`
