/** `phyllo engine`: a simulated engine. Its flags are the fields of its options' schema. */
import type { Command } from 'commander'
import { type EngineOptions, engineOptions } from '../../simulation/engine/options.js'
import { toJsonSchema } from '../../yaml/json-schema.js'
import { findingsOf } from '../../yaml/wording.js'
import { CliFailure, describeError } from '../failure.js'
import { exitWith } from '../lifecycle.js'
import { kebab, optionsOf } from '../schema-flags.js'

const schema = toJsonSchema(engineOptions)

export function addEngine(program: Command): void {
  const command = program
    .command('engine')
    .description('Start a simulated engine: OpenAI HTTP, a prefix cache, the timing of a GPU, no GPU.')
  for (const { option } of optionsOf(schema)) command.addOption(option)
  command.action((_, self: Command) => engine(self.opts()))
}

async function engine(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const options = engineOptionsOf(flags)
  const { runEngine } = await import('../../simulation/engine/run.js')
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  await runEngine(options, say).catch((error: unknown) => {
    throw new CliFailure(`cannot start: ${describeError(error)}`)
  })
  exitWith(0)
}

function engineOptionsOf(flags: Readonly<Record<string, unknown>>): EngineOptions {
  const parsed = engineOptions.safeParse(flags, { reportInput: true })
  if (parsed.success) return parsed.data
  const lines = parsed.error.issues
    .flatMap(issue => findingsOf(issue, schema))
    .map(({ path, message }) => `--${kebab(String(path[0]))}  ${message}`)
  throw new CliFailure(lines.join('\n'), 2, 'lines')
}
