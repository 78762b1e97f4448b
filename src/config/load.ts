/**
 * Loads a configuration: YAML, environment, flags, schema, cross checks, files. It never throws for what an operator
 * wrote; the answer is the whole configuration or every issue that could be found at once.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { RouterOptions } from '../server/options.js'
import type { Environment } from '../yaml/interpolate.js'
import { type Issue, pathText } from '../yaml/issue.js'
import { decodeSource, issueOf, reason } from '../yaml/source.js'
import { type Finding, findingsOf } from '../yaml/wording.js'
import { readYaml, type YamlData } from '../yaml/yaml.js'
import { crossCheck } from './cross-checks.js'
import { resolveDecisionLog } from './decision-log-schema.js'
import { configJsonSchema } from './json-schema.js'
import { resolveModelFiles } from './model-files.js'
import { applyOverrides, flagOf, type Override } from './overrides.js'
import { loadPluginFiles } from './plugin-files.js'
import { checkProfiles, profileNames } from './profiles.js'
import { configSchema, type RouterConfig, toRouterOptions } from './schema.js'

export { formatIssues, type Issue } from '../yaml/issue.js'
export type { Override } from './overrides.js'

export type LoadResult =
  | { readonly ok: true; readonly config: RouterOptions }
  | { readonly ok: false; readonly issues: readonly Issue[] }

export interface LoadOptions {
  /** How the file is named in issues. */
  readonly file?: string
  /** Relative paths in the file start here; default: the working directory. */
  readonly baseDir?: string
  /** For `${NAME}` in values; default: the process's. */
  readonly env?: Environment
  /** Values from flags; they replace those of the file. */
  readonly overrides?: readonly Override[]
}

/** Loads a file; without a path, what the flags alone say. */
export function loadConfig(path: string | undefined, options: LoadOptions = {}): LoadResult {
  if (path === undefined) return withoutFile(parseConfig('', options))
  const file = options.file ?? path
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    return failed({ file, message: `cannot read the configuration: ${reason(error)}` })
  }
  return parseConfig(bytes, { baseDir: dirname(path), ...options, file })
}

/** Where there is no file, there is no line to point at. */
function withoutFile(result: LoadResult): LoadResult {
  if (result.ok) return result
  const issues = result.issues.map(issue =>
    issue.line === 0 ? issue : { ...issue, file: 'command line', line: 0, column: 0 },
  )
  return { ok: false, issues }
}

/** Loads what a file would hold. */
export function parseConfig(source: string | Uint8Array, options: LoadOptions = {}): LoadResult {
  const { file = 'phyllo.yaml', baseDir = '.', env = process.env, overrides = [] } = options
  const decoded = decodeSource(source, file)
  if ('fault' in decoded) return failed(decoded.fault)
  const yaml = readYaml(decoded.text, file, env)
  if (yaml.broken) return { ok: false, issues: yaml.issues }

  const data = applyOverrides(withoutExtensions(yaml.value), overrides)
  const findings: Finding[] = []
  const config = validate(data, baseDir, findings)
  const known = new Set(yaml.issues.map(issue => issue.path))
  const issues = [
    ...yaml.issues,
    // What an unset variable left empty is told already, with its cause.
    ...findings
      .filter(({ path }) => !known.has(pathText(path)))
      .map(found => locate(found, file, yaml, overrides)),
  ].sort((a, b) => a.line - b.line || a.column - b.column)
  return config === undefined || issues.length > 0 ? { ok: false, issues } : { ok: true, config }
}

/** Top-level keys that begin with `x-` are the author's own: a place for anchors, as in Compose files. */
function withoutExtensions(data: unknown): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return data
  return Object.fromEntries(Object.entries(data).filter(([key]) => !key.startsWith('x-')))
}

/** The configuration that the data describes, as far as it can be told; adds what is wrong to `findings`. */
function validate(data: unknown, baseDir: string, findings: Finding[]): RouterOptions | undefined {
  // Before the profiles, which name the plugins.
  findings.push(...loadPluginFiles(data, baseDir), ...checkProfiles(data))
  const parsed = configSchema.safeParse(data ?? {}, { reportInput: true })
  if (!parsed.success) {
    findings.push(...parsed.error.issues.flatMap(issue => findingsOf(issue, configJsonSchema())))
    return undefined
  }
  const config: RouterConfig = parsed.data
  findings.push(...crossCheck(config, profileNames(config.profiles)))
  const { discovery, decisionLog } = config
  const { file } = discovery
  return toRouterOptions({
    ...config,
    plugins: config.plugins.map(file => resolve(baseDir, file)),
    models: resolveModelFiles(config.models, baseDir, findings),
    ...(decisionLog === undefined ? {} : { decisionLog: resolveDecisionLog(decisionLog, baseDir, findings) }),
    discovery: {
      ...discovery,
      ...(file === undefined ? {} : { file: { ...file, path: resolve(baseDir, file.path) } }),
    },
  })
}

function locate(found: Finding, file: string, yaml: YamlData, overrides: readonly Override[]): Issue {
  const issue = issueOf(found, file, yaml)
  const flag = flagOf(found.path, overrides)
  // Who typed a flag knows no paths of the file.
  return flag === undefined ? issue : { ...issue, file: flag, line: 0, column: 0, path: '' }
}

const failed = (issue: Pick<Issue, 'file' | 'message'> & Partial<Issue>): LoadResult => ({
  ok: false,
  issues: [{ line: 0, column: 0, path: '', ...issue }],
})
