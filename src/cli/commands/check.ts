/** `phyllo check FILE`: judges a configuration without starting anything. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { formatIssues, loadConfig } from '../../config/load.js'
import { parsePodList } from '../../data/discovery/pod-list.js'
import type { RouterOptions } from '../../server/options.js'
import { reason } from '../../yaml/source.js'
import { CliFailure } from '../failure.js'
import { print } from '../output.js'

export function addCheck(program: Command): void {
  program
    .command('check')
    .description('Check a configuration file; exits 0 if it is good, 1 with all that is wrong if not.')
    .argument('<file>', 'configuration file')
    .action((file: string) => {
      const loaded = loadConfig(file)
      if (!loaded.ok) throw new CliFailure(formatIssues(loaded.issues), 1, 'lines')
      const found = checkPodFile(loaded.config)
      return print(`${file}: ok — ${[...found, summary(loaded.config)].join(', ')}\n`)
    })
}

/** Judges the file of pods as it is now, which may come only later: what there is to say of it. */
function checkPodFile({ discovery, kvEvents }: RouterOptions): string[] {
  if (discovery.file === undefined) return []
  const { path } = discovery.file
  let content: Buffer
  try {
    content = readFileSync(path)
  } catch (error) {
    return [`no pods from ${path} yet (${reason(error)})`]
  }
  const list = parsePodList(content, path, kvEvents)
  if ('fault' in list) throw new CliFailure(list.fault, 1, 'lines')
  return [`${counted(list.pods.length, 'pod')} from ${path}`]
}

/** What the configuration amounts to, in a line. */
export function summary({
  pods,
  models,
  profiles,
  listen,
  admin,
  defaults,
  discovery,
  decisionLog,
}: RouterOptions): string {
  const isFixed = discovery.file === undefined && discovery.dns.length === 0
  return [
    pods.length === 0 && isFixed
      ? 'no pods (add them with --pod or POST /pods)'
      : counted(pods.length, 'pod'),
    ...discovery.dns.map(({ type, name }) => `pods by DNS ${type} ${name}`),
    counted(models.length, 'model'),
    counted(Object.keys(profiles).length, 'own profile'),
    `default profile ${defaults.profile}`,
    `public ${address(listen)}`,
    `admin ${address(admin)}`,
    ...(decisionLog === undefined
      ? []
      : [`decisions to ${decisionLog.path} at a rate of ${decisionLog.rate}`]),
  ].join(', ')
}

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`

const address = ({ host, port }: { host: string; port: number }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`
