/** A profile made ready to run, with the workflow that it names and the profiles that the workflow's steps name. */
import type { AnyPrepareSpec } from '../decision/plugin.js'
import type { Profile } from '../decision/profile.js'
import type { SelectingProfile } from './selector.js'
import { allStepsOf, profilesOf, type Workflow } from './workflow.js'

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
 * What is wrong with the profile of a step that asks another model than the request: tokens, hashes and matches are those
 * of the model asked for, and would be taken for the other's.
 */
function otherModelFault(workflow: Workflow, profiles: ReadonlyMap<string, Profile>): RouteFault | undefined {
  for (const step of allStepsOf(workflow)) {
    if (step.model === undefined) continue
    const profile = step.profile === undefined ? undefined : profiles.get(step.profile)
    const native = profile?.prepare.find(({ op }) => op !== 0)
    if (profile === undefined || native === undefined) continue
    const message =
      `step '${step.name}' of workflow '${workflow.name}' asks the model '${step.model}', and this profile prepares ` +
      `'${native.name}', which is done for the model that the client asks for; name a profile without it for the step, such as least-request`
    return { profile: profile.name, message }
  }
  return undefined
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
  const fault = otherModelFault(workflow, profiles)
  if (fault !== undefined) return fault
  const all = [...profile.prepare]
  for (const name of profilesOf(workflow)) {
    const other = profiles.get(name)
    if (other === undefined) {
      return {
        profile: profile.name,
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
