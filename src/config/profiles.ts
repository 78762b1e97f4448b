/** Profiles in the file: the decision layer knows what they may be; here its answers get their places. */
import { profileFromConfig } from '../decision/from-config.js'
import { shippedProfiles } from '../decision/profiles/index.js'
import { single } from '../execution/workflows/single.js'
import { knownPlugins } from '../server/profiles.js'
import type { Finding } from '../yaml/wording.js'

const shippedNames = shippedProfiles(single()).map(({ name }) => name)

/** Names of all profiles: the shipped ones and the file's own. */
export function profileNames(own: Readonly<Record<string, unknown>>): string[] {
  return [...new Set([...shippedNames, ...Object.keys(own)])]
}

/** What is wrong with `profiles` in the file's data, by the decision layer's judgement. */
export function checkProfiles(data: unknown): Finding[] {
  const profiles = entries(data).find(([key]) => key === 'profiles')?.[1]
  const registry = knownPlugins()
  return entries(profiles).flatMap(([name, profile]) => {
    const result = profileFromConfig(name, profile, registry)
    if (result.ok) return []
    return result.issues.map(
      ({ path, message }): Finding => ({ path: ['profiles', name, ...path], at: 'key', message }),
    )
  })
}

const entries = (data: unknown): [string, unknown][] =>
  typeof data === 'object' && data !== null && !Array.isArray(data) ? Object.entries(data) : []
