/** Options from a scenario file and flags: the flags win. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import { applyOverrides, flagOf, type Override } from '../../config/overrides.js'
import { formatIssues, type Issue } from '../../yaml/issue.js'
import { toJsonSchema } from '../../yaml/json-schema.js'
import { decodeSource, issueOf, reason } from '../../yaml/source.js'
import { findingsOf } from '../../yaml/wording.js'
import { readYaml, type YamlData } from '../../yaml/yaml.js'
import { OptionsError } from './failure.js'
import { type SimulationOptions, simulationSchema } from './schema.js'

/** Keys that name files; in a scenario file they start at its folder. */
const PATHS = ['trace', 'config', 'modelDir'] as const

/** Options of `phyllo simulate`. Throws an OptionsError with all that is wrong. */
export const loadOptions = (file: string | undefined, overrides: readonly Override[]): SimulationOptions =>
  loadOptionsOf('simulate', simulationSchema, file, overrides)

/** Options of a command whose schema has the same `trace`, `config` and `modelDir`. Throws an OptionsError likewise. */
export function loadOptionsOf<Shape extends z.ZodRawShape>(
  command: string,
  schema: z.ZodObject<Shape>,
  file: string | undefined,
  overrides: readonly Override[],
): z.output<z.ZodObject<Shape>> {
  const yaml = file === undefined ? null : readScenario(file)
  const data = applyOverrides(yaml === null ? {} : yaml.value, overrides) ?? {}
  const parsed = schema.safeParse(data, { reportInput: true })
  if (parsed.success) return parsed.data
  const described = toJsonSchema(schema)
  const issues = parsed.error.issues
    .flatMap(issue => findingsOf(issue, described))
    .map((found): Issue => {
      const flag = flagOf(found.path, overrides)
      if (flag === undefined && yaml !== null && file !== undefined) return issueOf(found, file, yaml)
      const path = flag === undefined ? found.path.join('.') : found.path.slice(1).join('.')
      const { message, fix } = found
      return {
        file: flag ?? command,
        line: 0,
        column: 0,
        path,
        message,
        ...(fix === undefined ? {} : { fix }),
      }
    })
  throw new OptionsError(formatIssues(issues))
}

function readScenario(file: string): YamlData {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(file)
  } catch (error) {
    throw new OptionsError(`cannot read the scenario ${file}: ${reason(error)}`)
  }
  const decoded = decodeSource(bytes, file)
  if ('fault' in decoded) throw new OptionsError(formatIssues([decoded.fault]))
  const yaml = readYaml(decoded.text, file, process.env)
  if (yaml.broken || yaml.issues.length > 0) throw new OptionsError(formatIssues(yaml.issues))
  return { ...yaml, value: withAbsolutePaths(yaml.value, dirname(file)) }
}

function withAbsolutePaths(data: unknown, folder: string): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return data
  const isPath = (key: string): boolean => PATHS.some(path => path === key)
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [
      key,
      isPath(key) && typeof value === 'string' ? resolve(folder, value) : value,
    ]),
  )
}
