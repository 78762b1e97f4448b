/** The command line as a whole: all commands, and how their failures become messages and exit codes. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { z } from 'zod'
import { addCheck } from './commands/check.js'
import { addDemo } from './commands/demo.js'
import { addEngine } from './commands/engine.js'
import { addExplain } from './commands/explain.js'
import { addReplay } from './commands/replay.js'
import { addSchema } from './commands/schema.js'
import { addServe } from './commands/serve.js'
import { addSimulate } from './commands/simulate.js'
import { addTune } from './commands/tune.js'
import { CliFailure } from './failure.js'
import { reportBug } from './lifecycle.js'

export function createProgram(): Command {
  const program = new Command('phyllo')
    .description('LLM inference router: sends each request to the pod where it runs fastest and cheapest.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showSuggestionAfterError()
    .configureOutput({ outputError: (text, write) => write(`phyllo: ${text.replace(/^error: /, '')}`) })
    .exitOverride()
  const commands = [
    addServe,
    addCheck,
    addSchema,
    addExplain,
    addReplay,
    addEngine,
    addDemo,
    addSimulate,
    addTune,
  ]
  for (const add of commands) add(program)
  return program
}

/** Runs a command line and answers the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const program = createProgram()
  if (argv.length === 0) {
    process.stderr.write(program.helpInformation())
    return 2
  }
  try {
    await program.parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    return report(error)
  }
}

function report(error: unknown): number {
  // commander has printed its message already; its exit code is 0 for help and version, 1 for wrong usage.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof CliFailure) {
    process.stderr.write(`${error.form === 'lines' ? '' : 'phyllo: '}${error.message}\n`)
    return error.exitCode
  }
  process.stderr.write(reportBug(error))
  return 1
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}
