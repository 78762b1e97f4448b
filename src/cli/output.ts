/** What a command prints for its user, or for the program behind a pipe. */
import { CliFailure, describeError } from './failure.js'

/**
 * Writes to standard output and resolves when all of it has left the process: a pipe takes 64 KiB at once, and what is
 * behind that is lost if the process exits meanwhile. A reader that has gone (`| head`) wants no more, and nothing is
 * wrong. Rejects with a CliFailure for all else, such as a full disk.
 */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (error: Error | null | undefined): void => {
      if (error == null || ('code' in error && error.code === 'EPIPE')) resolve()
      else reject(new CliFailure(`cannot write to standard output: ${describeError(error)}`))
    }
    // The stream tells it once more as an event, which would end the process if nobody listened.
    process.stdout.once('error', ended)
    process.stdout.write(text, ended)
  })
}
