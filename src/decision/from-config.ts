/**
 * Profiles as plain data: `profileFromConfig` reads what YAML gives and `profileToConfig` writes it. Faults come back as
 * a list with a path each, so that the config loader can point at line and key.
 */

import { nearestNames } from '../yaml/nearest.js'
import { checkProfile } from './check.js'
import { InvalidOptions } from './options.js'
import { type AnySpec, STAGES, type Stage } from './plugin.js'
import type { Profile } from './profile.js'
import { type PluginRegistry, plugins } from './registry.js'

/** A fault, and the way to it from the profile's own object. */
export interface ConfigIssue {
  readonly path: readonly (string | number)[]
  readonly message: string
}
export type ProfileResult =
  | { readonly ok: true; readonly profile: Profile }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] }

/** A plugin as YAML writes it: its name, or its name with options. */
export type PluginConfig = string | { readonly [name: string]: Readonly<Record<string, unknown>> }
/** A profile as YAML writes it. */
export interface ProfileConfig {
  readonly prepare?: readonly PluginConfig[]
  readonly filter?: readonly PluginConfig[]
  readonly score?: readonly PluginConfig[]
  readonly pick: PluginConfig
  readonly execute: PluginConfig
}

type Parts = Readonly<Record<string, unknown>>
type Path = readonly (string | number)[]
type FactoryLike<Spec> = { fromData(options: unknown): Spec }

/** Makes a profile of parsed YAML; with all its faults, where it has any. */
export function profileFromConfig(
  name: string,
  data: unknown,
  registry: PluginRegistry = plugins,
): ProfileResult {
  if (!isRecord(data)) {
    return { ok: false, issues: [{ path: [], message: `a profile is a map with ${STAGES.join(', ')}` }] }
  }
  const reader = new Reader(registry)
  reader.refuseUnknownKeys(data)
  const prepare = reader.list('prepare', data, registry.prepare)
  const filter = reader.list('filter', data, registry.filter)
  const score = reader.list('score', data, registry.score)
  const pick = reader.one('pick', data, registry.pick)
  const execute = reader.one('execute', data, registry.execute)
  const { issues } = reader
  if (issues.length > 0 || pick === undefined || execute === undefined) return { ok: false, issues }

  const profile: Profile = { name, prepare, filter, score, pick, execute }
  const unsupplied = checkProfile(profile, registry).map(({ stage, index, message }) => ({
    path: isListStage(stage) ? [stage, index] : [stage],
    message,
  }))
  return unsupplied.length === 0 ? { ok: true, profile } : { ok: false, issues: unsupplied }
}

/** The profile as YAML would say it: `profileFromConfig` makes an equal one of it. */
export function profileToConfig({ prepare, filter, score, pick, execute }: Profile): ProfileConfig {
  return {
    ...(prepare.length === 0 ? {} : { prepare: prepare.map(specToConfig) }),
    ...(filter.length === 0 ? {} : { filter: filter.map(specToConfig) }),
    ...(score.length === 0 ? {} : { score: score.map(specToConfig) }),
    pick: specToConfig(pick),
    execute: specToConfig(execute),
  }
}

const specToConfig = ({ name, given }: AnySpec): PluginConfig =>
  Object.keys(given).length === 0 ? name : { [name]: given }

/** Reads the parts and gathers their faults. */
class Reader {
  readonly issues: ConfigIssue[] = []

  constructor(private readonly registry: PluginRegistry) {}

  refuseUnknownKeys(data: Parts): void {
    for (const key of Object.keys(data)) {
      if (STAGES.some(stage => stage === key)) continue
      const hint = suggestion(nearestNames(key, STAGES)) || ` (stages: ${STAGES.join(', ')})`
      this.#fault([key], `unknown stage '${key}'${hint}`)
    }
  }

  list<Spec>(stage: Stage, parts: Parts, known: ReadonlyMap<string, FactoryLike<Spec>>): Spec[] {
    const data = parts[stage]
    if (data === undefined || data === null) return []
    if (!Array.isArray(data)) {
      this.#fault([stage], `'${stage}' is a list of plugins`)
      return []
    }
    return data.flatMap((entry, i) => this.#plugin(stage, entry, known, [stage, i]) ?? [])
  }

  one<Spec>(stage: Stage, parts: Parts, known: ReadonlyMap<string, FactoryLike<Spec>>): Spec | undefined {
    const data = parts[stage]
    if (data !== undefined && data !== null) return this.#plugin(stage, data, known, [stage])
    this.#fault([stage], `a profile needs '${stage}' (one of: ${this.registry.names(stage).join(', ')})`)
    return undefined
  }

  #plugin<Spec>(
    stage: Stage,
    entry: unknown,
    known: ReadonlyMap<string, FactoryLike<Spec>>,
    path: Path,
  ): Spec | undefined {
    const named = this.#nameAndOptions(stage, entry, path)
    if (named === undefined) return undefined
    const factory = known.get(named.name)
    if (factory === undefined) return this.#unknownPlugin(stage, named.name, path)
    try {
      return factory.fromData(named.options)
    } catch (error) {
      if (!(error instanceof InvalidOptions)) throw error
      for (const issue of error.issues) {
        this.#fault([...path, named.name, ...issue.path], `plugin '${named.name}': ${issue.message}`)
      }
      return undefined
    }
  }

  #nameAndOptions(stage: Stage, entry: unknown, path: Path): { name: string; options: unknown } | undefined {
    if (typeof entry === 'string') return { name: entry, options: undefined }
    if (isRecord(entry)) {
      const [only, ...others] = Object.entries(entry)
      if (only !== undefined && others.length === 0) return { name: only[0], options: only[1] }
    }
    this.#fault(
      path,
      `a ${stage} plugin is a name, or one name with its options: 'name' or { name: { option: value } }`,
    )
    return undefined
  }

  #unknownPlugin(stage: Stage, name: string, path: Path): undefined {
    const [home] = this.registry.stagesOf(name)
    if (home !== undefined) {
      this.#fault(path, `plugin '${name}' belongs under '${home}', not under '${stage}'`)
      return
    }
    const names = this.registry.names(stage)
    const hint = suggestion(nearestNames(name, names)) || ` (known: ${names.join(', ') || 'none'})`
    this.#fault(path, `unknown ${stage} plugin '${name}'${hint}`)
  }

  #fault(path: Path, message: string): void {
    this.issues.push({ path, message })
  }
}

function suggestion(names: readonly string[]): string {
  return names.length === 0 ? '' : `; did you mean ${names.map(name => `'${name}'`).join(' or ')}?`
}

function isListStage(stage: Stage): boolean {
  return stage !== 'pick' && stage !== 'execute'
}

function isRecord(value: unknown): value is Parts {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
