/** A profile by name, or as a file: what commands that decide without a router take. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, extname } from 'node:path'
import { formatIssues, loadConfig } from '../config/load.js'
import { profileFromConfig } from '../decision/from-config.js'
import type { Profile } from '../decision/profile.js'
import type { DescribedWorkflows } from '../execution/workflows/described/schema.js'
import type { RouterOptions } from '../server/options.js'
import { knownPlugins, resolveProfiles } from '../server/profiles.js'
import { nearestNames } from '../yaml/nearest.js'
import { decodeSource, issueOf, reason } from '../yaml/source.js'
import { readYaml } from '../yaml/yaml.js'
import { CliFailure } from './failure.js'

/** `config`: a router's configuration file, whose profiles and plugin modules can be named too. */
export function profileNamed(name: string, config: string | undefined): Profile {
  const router = configured(config)
  const known = resolveProfiles(router)
  return known.get(name) ?? fromFile(name, [...known.keys()], router.workflows)
}

function configured(config: string | undefined): Pick<RouterOptions, 'plugins' | 'profiles' | 'workflows'> {
  if (config === undefined) return { plugins: [], profiles: {} }
  const loaded = loadConfig(config)
  if (!loaded.ok) throw new CliFailure(formatIssues(loaded.issues), 1, 'lines')
  return loaded.config
}

/** The file holds one profile, named as the file is, or `profiles:` with one. */
function fromFile(
  file: string,
  known: readonly string[],
  workflows: DescribedWorkflows | undefined,
): Profile {
  if (!existsSync(file)) {
    const [guess] = nearestNames(file, known)
    const fix = guess === undefined ? `there are ${known.join(', ')}` : `write ${guess}`
    throw new CliFailure(`--profile  no profile and no file is named '${file}' — ${fix}`, 2, 'lines')
  }
  const decoded = decodeSource(readBytes(file), file)
  if ('fault' in decoded) throw new CliFailure(formatIssues([decoded.fault]), 1, 'lines')
  const yaml = readYaml(decoded.text, file, process.env)
  if (yaml.broken || yaml.issues.length > 0) throw new CliFailure(formatIssues(yaml.issues), 1, 'lines')
  if (entries(yaml.value).some(([key]) => key === 'workflows')) {
    throw new CliFailure(
      `--profile  ${file} has workflows of its own, which are read from --config alone — write --config ${file} --profile NAME`,
      1,
      'lines',
    )
  }
  const { name, data, path } = onlyProfile(yaml.value, file)
  const result = profileFromConfig(name, data, knownPlugins(workflows))
  if (result.ok) return result.profile
  const issues = result.issues.map(issue =>
    issueOf({ path: [...path, ...issue.path], at: 'key', message: issue.message }, file, yaml),
  )
  throw new CliFailure(formatIssues(issues), 1, 'lines')
}

function onlyProfile(data: unknown, file: string): { name: string; data: unknown; path: string[] } {
  const own = entries(data).find(([key]) => key === 'profiles')
  if (own === undefined) return { name: basename(file, extname(file)), data, path: [] }
  const [first, ...others] = entries(own[1])
  if (first === undefined || others.length > 0) {
    const found = first === undefined ? 'none' : [first, ...others].map(([name]) => name).join(', ')
    throw new CliFailure(`--profile  ${file} must hold one profile; it holds ${found}`, 1, 'lines')
  }
  return { name: first[0], data: first[1], path: ['profiles', first[0]] }
}

const entries = (data: unknown): [string, unknown][] =>
  typeof data === 'object' && data !== null && !Array.isArray(data) ? Object.entries(data) : []

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new CliFailure(`--profile  cannot read ${file}: ${reason(error)}`, 1, 'lines')
  }
}
