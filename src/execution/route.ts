/** A profile made ready to run, with the workflow that it names and the profiles that the workflow's steps name. */
import type { AnyPrepareSpec } from '../decision/plugin.js'
import type { Profile } from '../decision/profile.js'
import type { SelectingProfile } from './selector.js'
import { profilesOf, type Workflow } from './workflow.js'

export interface ExecutionRoute {
  readonly profile: SelectingProfile
  readonly workflow: Workflow
  /** By name. */
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
}

/** What is wrong with a workflow's use of profiles. */
export interface RouteFault {
  /** The profile at fault. */
  readonly profile: string
  readonly message: string
}

/**
 * What has to be prepared for a profile and for all that its workflow selects with: once per request, before the first
 * selection. Two profiles that prepare the same in two ways can't share a request.
 */
export function preparedFor(
  profile: Profile,
  workflow: Workflow,
  profiles: ReadonlyMap<string, Profile>,
): readonly AnyPrepareSpec[] | RouteFault {
  const all = [...profile.prepare]
  for (const name of profilesOf(workflow)) {
    const other = profiles.get(name)
    if (other === undefined) {
      return {
        profile: name,
        message: `workflow '${workflow.name}' selects with profile '${name}', which there is not`,
      }
    }
    for (const spec of other.prepare) {
      const same = all.find(each => each.name === spec.name)
      if (same === undefined) all.push(spec)
      else if (JSON.stringify(same.given) !== JSON.stringify(spec.given)) {
        const message = `'${spec.name}' has other options here than in '${name}', which workflow '${workflow.name}' selects with`
        return { profile: profile.name, message }
      }
    }
  }
  return all
}
