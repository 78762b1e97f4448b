/** `phyllo tune`: a profile's numbers, searched on one part of a trace and judged on the other. */
import type { Command } from 'commander'
import { PhylloError } from '../../errors.js'
import { tuneSchema } from '../../simulation/tune/schema.js'
import { CliFailure, describeError } from '../failure.js'
import { exitWith } from '../lifecycle.js'
import { print } from '../output.js'
import { classList, type Flags, fieldFlagsOf, overridesOf, textFlag } from '../workload-flags.js'

const fieldFlags = fieldFlagsOf(tuneSchema)

export function addTune(program: Command): void {
  const command = program
    .command('tune')
    .description(
      "Search a profile's weights and thresholds by simulation on the first part of a trace, and report what they " +
        'gain there and on the rest, which the search has not seen.',
    )
    .argument('[trace]', 'file with the requests; none with --synthetic')
    .option(
      '-s, --scenario <file>',
      'YAML or JSON file with the options below, named in camelCase; flags win',
    )
  for (const { option } of fieldFlags) command.addOption(option)
  command
    .option('--json <file>', 'write all figures and trials there; - is standard output, without the table')
    .option('--out <file>', 'write the best profile there, as a configuration file')
    .addHelpText('after', classList())
    .action(async (trace: string | undefined, _: unknown, self: Command) => {
      await tuneCommand(trace, self.opts())
      exitWith(0)
    })
}

async function tuneCommand(trace: string | undefined, flags: Flags): Promise<void> {
  // The simulator brings the whole router with it, which no other command should have to load.
  const [{ loadOptionsOf }, { runTuning }, { OptionsError }, { TraceError }] = await Promise.all([
    import('../../simulation/options/load.js'),
    import('../../simulation/tune/run.js'),
    import('../../simulation/options/failure.js'),
    import('../../simulation/traces/lines.js'),
  ])
  try {
    const overrides = overridesOf(fieldFlags, trace, flags)
    const options = loadOptionsOf('tune', tuneSchema, textFlag(flags, 'scenario'), overrides)
    const outputs = { json: textFlag(flags, 'json'), out: textFlag(flags, 'out') }
    await runTuning({ options, ...outputs, write: print })
  } catch (error) {
    if (error instanceof OptionsError || error instanceof TraceError) {
      throw new CliFailure(error.message, error instanceof OptionsError ? 2 : 1, 'lines')
    }
    // A plugin that threw, or a profile that refuses a good request: its user can mend it, and needs no stack of ours.
    if (error instanceof PhylloError) throw new CliFailure(`the search failed: ${describeError(error)}`)
    throw error
  }
}
