/** `phyllo simulate`: a trace through profiles and modelled engines, in virtual time. */
import type { Command } from 'commander'
import { PhylloError } from '../../errors.js'
import { simulationSchema } from '../../simulation/options/schema.js'
import { CliFailure, describeError } from '../failure.js'
import { exitWith } from '../lifecycle.js'
import { print } from '../output.js'
import { classList, type Flags, fieldFlagsOf, overridesOf, textFlag } from '../workload-flags.js'

const fieldFlags = fieldFlagsOf(simulationSchema)

export function addSimulate(program: Command): void {
  const command = program
    .command('simulate')
    .description(
      'Run a trace through a routing profile and modelled engines in virtual time: what it would have been like. ' +
        'Several profiles are compared on the same requests.',
    )
    .argument('[trace]', 'file with the requests; none with --synthetic')
    .option(
      '-s, --scenario <file>',
      'YAML or JSON file with the options below, named in camelCase; flags win',
    )
  for (const { option } of fieldFlags) command.addOption(option)
  command
    .option('--json <file>', 'write all figures there; - is standard output, without the table')
    .option('--html <file>', 'write a page with tables and plots there')
    .addHelpText('after', classList())
    .action(async (trace: string | undefined, _: unknown, self: Command) => {
      await simulateCommand(trace, self.opts())
      exitWith(0)
    })
}

async function simulateCommand(trace: string | undefined, flags: Flags): Promise<void> {
  // The simulator brings the whole router with it, which no other command should have to load.
  const [{ loadOptions }, { scenariosOf }, { compareProfiles }] = await Promise.all([
    import('../../simulation/options/load.js'),
    import('../../simulation/options/scenarios.js'),
    import('../../simulation/compare.js'),
  ])
  const { OptionsError } = await import('../../simulation/options/failure.js')
  const { TraceError } = await import('../../simulation/traces/lines.js')
  const json = textFlag(flags, 'json')
  const html = textFlag(flags, 'html')
  try {
    const options = loadOptions(textFlag(flags, 'scenario'), overridesOf(fieldFlags, trace, flags))
    await compareProfiles({ options, scenarios: scenariosOf(options), json, html, write: print })
  } catch (error) {
    if (error instanceof OptionsError || error instanceof TraceError) {
      throw new CliFailure(error.message, error instanceof OptionsError ? 2 : 1, 'lines')
    }
    // A plugin that threw, or a profile that refuses a good request: its user can mend it, and needs no stack of ours.
    if (error instanceof PhylloError) throw new CliFailure(`the simulation failed: ${describeError(error)}`)
    throw error
  }
}
