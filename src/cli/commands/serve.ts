/** `phyllo serve`: the router. */
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { configJsonSchema } from '../../config/json-schema.js'
import { formatIssues, loadConfig, type Override } from '../../config/load.js'
import type { RouterOptions } from '../../server/options.js'
import { schemaAt } from '../../yaml/json-schema.js'
import { CliFailure, describeError } from '../failure.js'
import { exitWith, serveUntilSignal } from '../lifecycle.js'
import { schemaOption } from '../schema-flags.js'

/** Flags that set one field of the configuration. */
const fieldFlags: readonly { readonly flag: string; readonly path: readonly string[] }[] = [
  { flag: '--port', path: ['listen', 'port'] },
  { flag: '--host', path: ['listen', 'host'] },
  { flag: '--admin-port', path: ['admin', 'port'] },
  { flag: '--admin-host', path: ['admin', 'host'] },
  { flag: '--workers', path: ['listen', 'workers'] },
  { flag: '--engine', path: ['listen', 'engine'] },
  { flag: '--profile', path: ['defaults', 'profile'] },
  { flag: '--log-level', path: ['log', 'level'] },
  { flag: '--log-format', path: ['log', 'format'] },
]

type Flags = Readonly<Record<string, unknown>>

export function addServe(program: Command): void {
  const schema = configJsonSchema()
  const command = program
    .command('serve')
    .description('Start the router. Flags take precedence over the configuration file.')
    .option('-c, --config <file>', 'configuration file (see `phyllo schema` and `phyllo check`)')
    .addOption(
      new Option(
        '--pod <url>',
        'an engine, such as http://host:8000 (repeatable); replaces `pods`',
      ).argParser((url: string, before: string[] | undefined) => [...(before ?? []), url]),
    )
    .option('--model-dir <dir>', "directory with the model's tokenizer.json; replaces `models`")
    .option('--model <name>', 'name of the model that --model-dir and --block-size are for (default: any)')
    .addOption(schemaOption('--block-size', schemaAt(['models', 0, 'blockSize'], schema)))
  for (const { flag, path } of fieldFlags) command.addOption(schemaOption(flag, schemaAt(path, schema)))
  command.action((_, self: Command) => serve(self.opts()))
}

async function serve(flags: Flags): Promise<void> {
  const options = configure(flags)
  const { startRouter } = await import('../../server/router.js')
  const router = await startRouter(options).catch((error: unknown) => {
    throw new CliFailure(`cannot start: ${describeError(error)}`)
  })
  await serveUntilSignal(() => router.close())
  exitWith(0)
}

/** The options that file and flags amount to. */
export function configure(flags: Flags): RouterOptions {
  const file = textFlag(flags, 'config')
  const loaded = loadConfig(file, { overrides: overridesOf(flags) })
  if (!loaded.ok) {
    const isUsage = file === undefined || loaded.issues.every(issue => issue.file.startsWith('--'))
    throw new CliFailure(formatIssues(loaded.issues), isUsage ? 2 : 1, 'lines')
  }
  const { pods, discovery } = loaded.config
  if (pods.length === 0 && discovery.file === undefined && discovery.dns.length === 0) {
    const where = file === undefined ? '' : `, or under pods: or discovery: in ${file}`
    throw new CliFailure(`no pods to route to: name the engines with --pod http://host:8000${where}`, 2)
  }
  return loaded.config
}

/** The flags as values laid over the file's. */
export function overridesOf(flags: Flags): Override[] {
  const overrides: Override[] = []
  for (const { flag, path } of fieldFlags) {
    const value = flags[camel(flag)]
    if (value !== undefined) overrides.push({ flag, path, value })
  }
  const { pod, blockSize } = flags
  if (Array.isArray(pod)) overrides.push({ flag: '--pod', path: ['pods'], value: pod.map(url => ({ url })) })
  const dir = textFlag(flags, 'modelDir')
  const model = textFlag(flags, 'model')
  if (dir !== undefined || model !== undefined || blockSize !== undefined) {
    const flag = dir !== undefined ? '--model-dir' : blockSize !== undefined ? '--block-size' : '--model'
    // Paths in flags start at the working directory, those in the file at the file's.
    const entry = { name: model ?? '*', dir: dir === undefined ? undefined : resolve(dir), blockSize }
    overrides.push({ flag, path: ['models'], value: [entry] })
  }
  return overrides
}

function textFlag(flags: Flags, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}

/** `--admin-port` → `adminPort`, as commander names it. */
const camel = (flag: string): string =>
  flag.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
