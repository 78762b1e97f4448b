/** Profiles in the file: the decision layer knows what they may be; here its answers get their places. */
import { profileFromConfig } from '../decision/from-config.js'
import type { Profile } from '../decision/profile.js'
import type { DescribedWorkflows } from '../execution/workflows/described/schema.js'
import { builtInProfiles, knownPlugins, routeFaults } from '../server/profiles.js'
import type { Finding } from '../yaml/wording.js'
import { soundWorkflows } from './workflows.js'

const shippedNames = builtInProfiles().map(({ name }) => name)

/** Names of all profiles: the shipped ones and the file's own. */
export function profileNames(own: Readonly<Record<string, unknown>>): string[] {
  return [...new Set([...shippedNames, ...Object.keys(own)])]
}

/** What is wrong with `profiles` in the file's data, by the decision layer's judgement. */
export function checkProfiles(data: unknown): Finding[] {
  const profiles = entries(data).find(([key]) => key === 'profiles')?.[1]
  const workflows = soundWorkflows(data)
  const registry = knownPlugins(workflows)
  const all = new Map(builtInProfiles().map((profile): [string, Profile] => [profile.name, profile]))
  const findings = entries(profiles).flatMap(([name, profile]) => {
    const result = profileFromConfig(name, profile, registry)
    if (result.ok) {
      all.set(name, result.profile)
      return []
    }
    return result.issues.map(
      ({ path, message }): Finding => ({ path: ['profiles', name, ...path], at: 'key', message }),
    )
  })
  // A workflow can only be judged by profiles that are sound themselves.
  return findings.length > 0 ? findings : routeFindings(all, workflows)
}

function routeFindings(profiles: ReadonlyMap<string, Profile>, workflows: DescribedWorkflows): Finding[] {
  return routeFaults(profiles, workflows).map(({ profile, message }) => ({
    path: ['profiles', profile, 'execute'],
    at: 'key',
    message,
  }))
}

const entries = (data: unknown): [string, unknown][] =>
  typeof data === 'object' && data !== null && !Array.isArray(data) ? Object.entries(data) : []
