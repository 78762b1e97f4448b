/**
 * What `import … from 'phyllo'` gives: the router to start, profiles and plugins to write, the native index to use on
 * its own. Everything else in this package is internal and may change in any release.
 */

/** The zod that plugins describe their options with: another copy's schemas would not do. */
export { z } from 'zod'
export {
  formatIssues,
  type Issue,
  type LoadOptions,
  type LoadResult,
  loadConfig,
  parseConfig,
} from './config/load.js'
export { type ConfigInput, configSchema } from './config/schema.js'
export { createPrefixIndex, hashTokens, type PrefixIndex } from './data/prefix-index.js'
export * from './decision/index.js'
export { type ErrorCode, type ErrorKind, type ErrorSource, errorCatalogue, PhylloError } from './errors.js'
export { single } from './execution/workflows/single.js'
export type { RouterOptions } from './server/options.js'
export { type RunningRouter, startRouter } from './server/router.js'
