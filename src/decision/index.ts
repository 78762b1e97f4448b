/** What plugin and profile authors import; the package's root passes it on. */
export type { PodInfo, Pool } from '../data/pod-view.js'
export { checkProfile, type SlotIssue } from './check.js'
export { type CompiledProfile, type CompileEnv, compileProfile } from './compile.js'
export { configSchema } from './config-schema.js'
export type { RoutingContext } from './context.js'
export { cost, executor, filter, nativeStep, noOptions, picker, preparer, scorer } from './factories.js'
export { profileFromConfig, profileToConfig } from './from-config.js'
export { InvalidOptions } from './options.js'
export { type SelectionOutcome, selectionError } from './outcome.js'
export type {
  BookedFn,
  CostFn,
  FilterFn,
  PickFn,
  PluginEnv,
  PrepareFn,
  RequestView,
  ScoreFn,
} from './plugin.js'
export * from './plugins/index.js'
export { type Profile, profile } from './profile.js'
export { profileYaml, shippedProfiles, stepProfiles } from './profiles/index.js'
export { Ranking } from './ranking.js'
export { PluginRegistry, plugins, registerPlugin } from './registry.js'
export { Slot, slot } from './slot.js'
export * as slots from './slots.js'
export { Trace } from './trace.js'
