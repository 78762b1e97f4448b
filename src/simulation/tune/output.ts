/** The best profile as a configuration file, for `phyllo check`, `serve -c` and `--profile`. */
import { dirname, relative, resolve, sep } from 'node:path'
import { stringify } from 'yaml'
import type { Profile } from '../../decision/profile.js'
import { profileYaml } from '../../decision/profiles/index.js'
import type { DescribedWorkflow, DescribedWorkflows } from '../../execution/workflows/described/schema.js'

/** What a profile stands on besides itself. */
export interface Surroundings {
  /** Files of the user's own plugins that it may need, as the router's configuration has them. */
  readonly plugins: readonly string[]
  /** The configured workflows. */
  readonly workflows?: DescribedWorkflows | undefined
  /** Where it will be: paths in a configuration start at its folder. */
  readonly file: string
}

/** `comment`: lines above it. */
export function configYaml(
  profile: Profile,
  comment: readonly string[],
  { plugins, workflows = {}, file }: Surroundings,
): string {
  const head = comment.map(line => `# ${line}\n`).join('')
  const listed = plugins.map(plugin =>
    relative(dirname(resolve(file)), plugin)
      .split(sep)
      .join('/'),
  )
  const modules = listed.length === 0 ? '' : stringify({ plugins: listed })
  const used = workflowsOf(profile.execute.name, workflows)
  const own =
    used.length === 0 ? '' : stringify({ workflows: Object.fromEntries(used) }, { keepUndefined: true })
  const body = profileYaml(profile).trimEnd().replaceAll(/^/gm, '  ')
  return `${head}${modules}${own}profiles:\n${body}\n`
}

/** The configured workflow of that name, and those that it falls back to. */
function workflowsOf(name: string | undefined, all: DescribedWorkflows): [string, DescribedWorkflow][] {
  const [found] = Object.entries(all).filter(([each]) => each === name)
  return found === undefined ? [] : [found, ...workflowsOf(found[1].fallback, all)]
}
