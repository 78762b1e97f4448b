/** Profiles by name or by file, and what else a router's configuration says of decisions. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, extname } from 'node:path'
import { loadConfig } from '../../config/load.js'
import { configSchema, toRouterOptions } from '../../config/schema.js'
import { profileFromConfig } from '../../decision/from-config.js'
import type { Profile } from '../../decision/profile.js'
import type { DescribedWorkflows } from '../../execution/workflows/described/schema.js'
import type { RouterOptions } from '../../server/options.js'
import { knownPlugins, resolveProfiles } from '../../server/profiles.js'
import { formatIssues } from '../../yaml/issue.js'
import { nearestNames } from '../../yaml/nearest.js'
import { decodeSource, issueOf, reason } from '../../yaml/source.js'
import { readYaml } from '../../yaml/yaml.js'
import { OptionsError } from './failure.js'
import type { SimulationOptions } from './schema.js'

/** The router's options: those of the configuration file, or all defaults. */
export function routerOptionsOf({ config }: Pick<SimulationOptions, 'config'>): RouterOptions {
  if (config === undefined) return toRouterOptions(configSchema.parse({}))
  const loaded = loadConfig(config)
  if (!loaded.ok) throw new OptionsError(formatIssues(loaded.issues))
  return loaded.config
}

/** The profiles to run, in the order asked for. Throws an OptionsError with the flag and what there is. */
export function profilesOf(
  { profile, compare }: Pick<SimulationOptions, 'profile' | 'compare'>,
  router: RouterOptions,
): Profile[] {
  if (profile !== undefined && compare !== undefined) {
    throw new OptionsError('--compare  cannot be given with --profile — name all of them under --compare')
  }
  const flag = compare === undefined ? '--profile' : '--compare'
  const known = resolveProfiles(router)
  const wanted = compare ?? [profile ?? router.defaults.profile]
  const found = wanted.flatMap(name => {
    const named = known.get(name)
    return named === undefined ? fromFile(flag, name, [...known.keys()], router.workflows) : [named]
  })
  const names = found.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw new OptionsError(`${flag}  '${twice}' is named twice — give it another name`)
  return found
}

/** One profile as the whole file, named as the file is; or all under its `profiles`. */
function fromFile(
  flag: string,
  file: string,
  known: readonly string[],
  workflows: DescribedWorkflows | undefined,
): Profile[] {
  if (!existsSync(file)) {
    const [guess] = nearestNames(file, known)
    const fix = guess === undefined ? `there are ${known.join(', ')}` : `write ${guess}`
    throw new OptionsError(`${flag}  no profile and no file is named '${file}' — ${fix}`)
  }
  const decoded = decodeSource(readBytes(flag, file), file)
  if ('fault' in decoded) throw new OptionsError(formatIssues([decoded.fault]))
  const yaml = readYaml(decoded.text, file, process.env)
  if (yaml.broken || yaml.issues.length > 0) throw new OptionsError(formatIssues(yaml.issues))
  const data = yaml.value
  const isMap = typeof data === 'object' && data !== null && !Array.isArray(data)
  if (isMap && 'workflows' in data) {
    throw new OptionsError(
      `${flag}  ${file} has workflows of its own, which are read from --config alone — write --config ${file}, and the profile's name`,
    )
  }
  const own = isMap ? Object.entries(data).find(([key]) => key === 'profiles') : undefined
  const entries: [string, unknown, string[]][] =
    own === undefined || typeof own[1] !== 'object' || own[1] === null
      ? [[basename(file, extname(file)), data, []]]
      : Object.entries(own[1]).map(([name, value]) => [name, value, ['profiles', name]])
  return entries.map(([name, value, path]) => {
    const result = profileFromConfig(name, value, knownPlugins(workflows))
    if (result.ok) return result.profile
    const issues = result.issues.map(issue =>
      issueOf({ path: [...path, ...issue.path], at: 'key', message: issue.message }, file, yaml),
    )
    throw new OptionsError(formatIssues(issues))
  })
}

function readBytes(flag: string, file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new OptionsError(`${flag}  cannot read ${file}: ${reason(error)}`)
  }
}
