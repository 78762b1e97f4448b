// Runs the TypeScript tests on other Node versions: binaries come from npm's `node` package, into .cache/.
// Usage: node scripts/test-on-nodes.mjs 22 24
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', cwd: root })
  if (status !== 0) process.exit(status ?? 1)
}

for (const version of process.argv.slice(2)) {
  const home = join(root, '.cache', `node-${version}`)
  const node = join(home, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(node)) run('npm', ['install', '--silent', '--no-save', '--prefix', home, `node@${version}`])
  console.log(`== Node ${version}`)
  run(node, ['--version'])
  run(node, ['node_modules/ava/entrypoints/cli.mjs'])
}
