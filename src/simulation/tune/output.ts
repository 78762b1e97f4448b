/** The best profile as a configuration file, for `phyllo check`, `serve -c` and `--profile`. */
import { dirname, relative, resolve, sep } from 'node:path'
import { stringify } from 'yaml'
import type { Profile } from '../../decision/profile.js'
import { profileYaml } from '../../decision/profiles/index.js'

/**
 * @param comment lines above it
 * @param plugins files of the user's own plugins that it may need, as the router's configuration has them
 * @param file where it will be: paths in a configuration start at its folder
 */
export function configYaml(
  profile: Profile,
  comment: readonly string[],
  plugins: readonly string[],
  file: string,
): string {
  const head = comment.map(line => `# ${line}\n`).join('')
  const listed = plugins.map(plugin =>
    relative(dirname(resolve(file)), plugin)
      .split(sep)
      .join('/'),
  )
  const modules = listed.length === 0 ? '' : stringify({ plugins: listed })
  const body = profileYaml(profile).trimEnd().replaceAll(/^/gm, '  ')
  return `${head}${modules}profiles:\n${body}\n`
}
