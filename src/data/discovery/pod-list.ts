/** A file of pods: the list itself, or a map with the list under `pods`, each as in the configuration. */
import { z } from 'zod'
import { formatIssues, type Issue } from '../../yaml/issue.js'
import { toJsonSchema } from '../../yaml/json-schema.js'
import { decodeSource, issueOf } from '../../yaml/source.js'
import { type Finding, findingsOf } from '../../yaml/wording.js'
import { readYaml } from '../../yaml/yaml.js'
import { checkPods } from '../pod-checks.js'
import type { FleetKvEvents } from '../pod-events.js'
import type { PodSpec } from '../pod-registry.js'
import { podSchema } from '../pod-schema.js'

/** The pods of a file, or what is wrong with it, each issue a line. */
export type PodList = { readonly pods: readonly PodSpec[] } | { readonly fault: string }

const list = z.array(podSchema).describe('Pods, as in the configuration.')
const file = z.union([list, z.strictObject({ pods: list })])
const fileSchema = toJsonSchema(file)

/** Reads what a file holds. An empty one is a fault: it is how a file looks that is just being written. */
export function parsePodList(source: Uint8Array, name: string, fleetEvents: FleetKvEvents): PodList {
  const decoded = decodeSource(source, name)
  if ('fault' in decoded) return fault([decoded.fault])
  const yaml = readYaml(decoded.text, name, process.env)
  if (yaml.issues.length > 0) return fault(yaml.issues)
  if (yaml.value === undefined || yaml.value === null)
    return { fault: `${name} is empty; write [] if there are no pods` }
  const parsed = file.safeParse(withoutExtensions(yaml.value), { reportInput: true })
  const findings = parsed.success
    ? checkAll(parsed.data, fleetEvents)
    : parsed.error.issues.flatMap(issue => findingsOf(issue, fileSchema))
  if (!parsed.success || findings.length > 0) return fault(findings.map(found => issueOf(found, name, yaml)))
  return { pods: podsOf(parsed.data) }
}

type FileData = z.output<typeof file>

const podsOf = (data: FileData) => (Array.isArray(data) ? data : data.pods)
const checkAll = (data: FileData, fleet: FleetKvEvents): Finding[] =>
  checkPods(podsOf(data), fleet, Array.isArray(data) ? [] : ['pods'])

/** Keys that begin with `x-` are the author's own, as in the configuration. */
function withoutExtensions(data: unknown): unknown {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return data
  return Object.fromEntries(Object.entries(data).filter(([key]) => !key.startsWith('x-')))
}

const fault = (issues: readonly Issue[]): PodList => ({ fault: formatIssues(issues) })
