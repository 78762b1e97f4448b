/** `phyllo check FILE`: judges a configuration without starting anything. */
import type { Command } from 'commander'
import { formatIssues, loadConfig } from '../../config/load.js'
import type { RouterOptions } from '../../server/options.js'
import { CliFailure } from '../failure.js'

export function addCheck(program: Command): void {
  program
    .command('check')
    .description('Check a configuration file; exits 0 if it is good, 1 with all that is wrong if not.')
    .argument('<file>', 'configuration file')
    .action((file: string) => {
      const loaded = loadConfig(file)
      if (!loaded.ok) throw new CliFailure(formatIssues(loaded.issues), 1, 'lines')
      process.stdout.write(`${file}: ok — ${summary(loaded.config)}\n`)
    })
}

/** What the configuration amounts to, in a line. */
export function summary({ pods, models, profiles, listen, admin, defaults }: RouterOptions): string {
  return [
    pods.length === 0 ? 'no pods (add them with --pod or POST /pods)' : counted(pods.length, 'pod'),
    counted(models.length, 'model'),
    counted(Object.keys(profiles).length, 'own profile'),
    `default profile ${defaults.profile}`,
    `public ${address(listen)}`,
    `admin ${address(admin)}`,
  ].join(', ')
}

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

const address = ({ host, port }: { host: string; port: number }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`
