/** How a command fails for reasons that its user can mend: a message for standard error and an exit code. */

/** 1: it did not work out; 2: it was called wrongly. */
export type ExitCode = 1 | 2

export class CliFailure extends Error {
  override readonly name = 'CliFailure'

  constructor(
    message: string,
    readonly exitCode: ExitCode = 1,
    /** `lines`: each stands for itself (`file:line:column …`, `--flag …`), so that editors can follow it. */
    readonly form: 'sentence' | 'lines' = 'sentence',
  ) {
    super(message)
  }
}

/** What went wrong in a few words, with the causes that fetch and the like hide below. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(describeError).join('; ')
  return error.cause instanceof Error ? `${error.message}: ${describeError(error.cause)}` : error.message
}
