/**
 * A profile whose Prepare plugins find what the log holds instead of looking at a request that is not there. Filters,
 * scorers and the picker stay what they are.
 */
import type { AnyPrepareSpec } from '../plugin.js'
import type { Profile } from '../profile.js'
import type { AnySlot } from '../slot.js'
import { affinityKey, sessionKey, sessionPod } from '../slots.js'

/** The keys of the record that is decided on; made when a plugin wants one, as that takes a while. */
export interface LoggedKeys {
  session(): string | null
  affinity(): string
}

/** Slots that a log can fill; those of native steps are read from the lane. */
const logged: ReadonlySet<AnySlot> = new Set<AnySlot>([affinityKey, sessionKey, sessionPod])

/** What in a profile cannot be decided again: slots that a plugin writes from the request itself. */
export function unknownSlots(profile: Profile): { plugin: string; slot: string }[] {
  return profile.prepare
    .filter(spec => spec.op === 0)
    .flatMap(spec =>
      spec.writes.filter(slot => !logged.has(slot)).map(slot => ({ plugin: spec.name, slot: slot.name })),
    )
}

/** Plugins that make keys by options of their own: the log's keys may be others. */
export function ownKeyOptions(profile: Profile): string[] {
  return profile.prepare
    .filter(spec => spec.op === 0 && spec.writes.some(slot => logged.has(slot)))
    .filter(spec => Object.keys(spec.given).length > 0 || !DEFAULT_MAKERS.includes(spec.name))
    .map(spec => spec.name)
}

/** Whose defaults the log falls back on; see requestKeys. */
const DEFAULT_MAKERS = ['affinity-key', 'session-key']

export function replayedProfile(profile: Profile, keys: LoggedKeys): Profile {
  return {
    ...profile,
    prepare: profile.prepare.map(spec => (spec.op === 0 ? fromLog(spec, keys) : spec)),
  }
}

function fromLog(spec: AnyPrepareSpec, keys: LoggedKeys): AnyPrepareSpec {
  const writes = new Set(spec.writes)
  return {
    ...spec,
    create: () => ctx => {
      if (writes.has(affinityKey)) ctx.set(affinityKey, keys.affinity())
      if (!writes.has(sessionKey)) return
      const session = keys.session()
      ctx.set(sessionKey, session)
      if (session !== null) ctx.nameSession(session)
    },
  }
}
