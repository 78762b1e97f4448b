/** `phyllo simulate`: a trace through profiles and modelled engines, in virtual time. */
import { type Command, Option } from 'commander'
import type { Override } from '../../config/overrides.js'
import { PhylloError } from '../../errors.js'
import { simulationSchema } from '../../simulation/options/schema.js'
import { podClasses } from '../../simulation/pod-classes/index.js'
import { toJsonSchema } from '../../yaml/json-schema.js'
import { CliFailure, describeError } from '../failure.js'
import { exitWith } from '../lifecycle.js'
import { optionsOf, plainValue } from '../schema-flags.js'

type Flags = Readonly<Record<string, unknown>>

const fieldFlags = optionsOf(toJsonSchema(simulationSchema)).filter(({ key }) => key !== 'trace')

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
  for (const { flag, key, option } of fieldFlags) command.addOption(flagFor(flag, key, option))
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
    const options = loadOptions(textFlag(flags, 'scenario'), overridesOf(trace, flags))
    await compareProfiles({ options, scenarios: scenariosOf(options), json, html })
  } catch (error) {
    if (error instanceof OptionsError || error instanceof TraceError) {
      throw new CliFailure(error.message, error instanceof OptionsError ? 2 : 1, 'lines')
    }
    // A plugin that threw, or a profile that refuses a good request: its user can mend it, and needs no stack of ours.
    if (error instanceof PhylloError) throw new CliFailure(`the simulation failed: ${describeError(error)}`)
    throw error
  }
}

/** The flags as values laid over the scenario file's. */
function overridesOf(trace: string | undefined, flags: Flags): Override[] {
  const overrides = fieldFlags.flatMap(({ flag, key }): Override[] => {
    const value = flags[key]
    return value === undefined ? [] : [{ flag, path: [key], value }]
  })
  return trace === undefined ? overrides : [...overrides, { flag: 'trace', path: ['trace'], value: trace }]
}

/** Lists are written with commas here, and maps as `name=value,…`. */
function flagFor(flag: string, key: string, option: Option): Option {
  if (key === 'compare') {
    return new Option(`${flag} <names>`, `${option.description} Separated by commas.`).argParser(listOf)
  }
  if (key === 'synthetic') return new Option(`${flag} <settings>`, option.description).argParser(mapOf)
  if (key === 'fleet') return new Option(`${flag} <pods>`, option.description)
  if (key === 'config') return new Option(`-c, ${flag} <file>`, option.description)
  if (key === 'modelDir') return new Option(`${flag} <dir>`, option.description)
  if (key === 'profile') return new Option(`${flag} <name>`, option.description)
  return option
}

const listOf = (text: string): string[] => text.split(',').map(part => part.trim())

function mapOf(text: string): Record<string, unknown> {
  return Object.fromEntries(
    listOf(text).map(part => {
      const at = part.indexOf('=')
      if (at > 0) return [part.slice(0, at), plainValue(part.slice(at + 1))]
      throw new CliFailure(`--synthetic  expected name=value, got ${JSON.stringify(part)}`, 2, 'lines')
    }),
  )
}

function classList(): string {
  const width = Math.max(...podClasses.map(({ name }) => name.length))
  return `\nPod classes:\n${podClasses.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join('')}`
}

function textFlag(flags: Flags, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}
