/** Workflows in the file: the execution layer knows what they may be; here its answers get their places. */
import { describedFaults } from '../execution/workflows/described/faults.js'
import {
  type DescribedWorkflow,
  type DescribedWorkflows,
  describedWorkflow,
} from '../execution/workflows/described/schema.js'
import { executors } from '../execution/workflows/registry.js'
import type { Finding } from '../yaml/wording.js'

const builtIn = executors.map(({ pluginName }) => pluginName)

/** What is wrong with them besides what the schema says. `profiles`: names of all profiles there are. */
export const checkWorkflows = (workflows: DescribedWorkflows, profiles: readonly string[]): Finding[] =>
  describedFaults(workflows, profiles, builtIn).map(({ path, message, fix }) => ({
    path: ['workflows', ...path],
    at: 'value',
    message,
    fix,
  }))

/**
 * Those in the file's data that the schema takes, for profiles that name them. Of a bad one the schema tells; that a
 * profile names it is no fault besides.
 */
export function soundWorkflows(data: unknown): DescribedWorkflows {
  const all = entries(entries(data).find(([key]) => key === 'workflows')?.[1])
  const sound = all.map(([name, workflow]): [string, DescribedWorkflow] => {
    const parsed = describedWorkflow.safeParse(workflow)
    return [name, parsed.success ? parsed.data : standIn]
  })
  return Object.fromEntries(
    sound.map(([name, workflow]) => [name, builds(name, workflow) ? workflow : standIn]),
  )
}

/** In place of a workflow that can't be made. */
const standIn = describedWorkflow.parse({ steps: [{ name: 'serve' }] })

const builds = (name: string, workflow: DescribedWorkflow): boolean =>
  describedFaults({ [name]: workflow }, anyProfile(workflow), [...builtIn, workflow.fallback ?? ''])
    .length === 0

/** Whether its profiles are there is another question. */
const anyProfile = ({ steps }: DescribedWorkflow): string[] =>
  steps
    .flatMap(entry => ('together' in entry ? entry.together : [entry]))
    .flatMap(({ profile }) => profile ?? [])

const entries = (data: unknown): [string, unknown][] =>
  typeof data === 'object' && data !== null && !Array.isArray(data) ? Object.entries(data) : []
