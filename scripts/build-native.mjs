// Builds native/node into `native/node/phyllo.<platform>.node`, with its generated loader and types.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cli = join(
  dirname(createRequire(import.meta.url).resolve('@napi-rs/cli/package.json')),
  'dist',
  'cli.js',
)
const args = [
  cli,
  'build',
  '--platform',
  '--release',
  '--manifest-path',
  'native/node/Cargo.toml',
  '--package-json-path',
  'package.json',
  '--output-dir',
  'native/node',
  '--js',
  'binding.cjs',
  '--dts',
  'binding.d.cts',
  ...process.argv.slice(2),
]
const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: root })
process.exit(status ?? 1)
