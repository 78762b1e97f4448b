/** The check that the builder's types make, made again at run time: for profiles from YAML and from plain JavaScript. */
import type { AnySpec } from './plugin.js'
import type { Profile } from './profile.js'
import type { AnySlot } from './slot.js'

/** A slot that a plugin reads and nothing before it writes. */
export interface SlotIssue {
  readonly stage: AnySpec['stage']
  /** Position of the plugin in its stage. */
  readonly index: number
  readonly plugin: string
  readonly slot: string
  /** Registered plugins that write the slot. */
  readonly suppliers: readonly string[]
  readonly message: string
}

/** Which plugins write a slot; the registry answers. */
export interface Suppliers {
  suppliersOf(slot: AnySlot): readonly string[]
}

/** Every slot read before it is written, in the profile's order; empty for a sound profile. */
export function checkProfile(profile: Profile, registry: Suppliers): SlotIssue[] {
  const written = new Set<AnySlot>()
  const issues: SlotIssue[] = []
  const check = (spec: AnySpec, index: number): void => {
    for (const slot of spec.reads) {
      if (!written.has(slot)) issues.push(slotIssue(spec, index, slot, registry.suppliersOf(slot)))
    }
  }
  profile.prepare.forEach((spec, index) => {
    check(spec, index)
    for (const slot of spec.writes) written.add(slot)
  })
  profile.filter.forEach(check)
  profile.score.forEach(check)
  check(profile.pick, 0)
  return issues
}

function slotIssue(spec: AnySpec, index: number, slot: AnySlot, suppliers: readonly string[]): SlotIssue {
  const remedy =
    suppliers.length === 0
      ? 'no registered plugin writes it'
      : `add to prepare, before it: ${suppliers.map(name => `'${name}'`).join(' or ')}`
  return {
    stage: spec.stage,
    index,
    plugin: spec.name,
    slot: slot.name,
    suppliers,
    message: `plugin '${spec.name}' reads slot '${slot.name}', which nothing before it writes; ${remedy}`,
  }
}
