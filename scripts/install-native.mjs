// Runs on `npm install`: finds a native binary that fits this machine, or builds one from source with cargo.
//
// In the order tried: a binary already beside the binding (shipped in the package, or built before), then cargo.
// In a checkout (there is a .git beside package.json) the sources may be newer than the binary, so cargo decides.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const binding = join(root, 'native', 'node', 'binding.cjs')

function loads() {
  try {
    createRequire(import.meta.url)(binding)
    return true
  } catch {
    return false
  }
}

const checkout = existsSync(join(root, '.git'))
if (process.env.PHYLLO_SKIP_NATIVE_BUILD === '1' || (!checkout && loads())) process.exit(0)

if (spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status !== 0) {
  if (loads()) process.exit(0)
  console.error(
    `phyllo: no prebuilt native binary fits ${process.platform}-${process.arch}, and building one needs Rust ` +
      '1.88 or newer (https://rustup.rs) and a C++ compiler. Install them and run `npm install` again.',
  )
  process.exit(1)
}
console.error('phyllo: building the native core from source (one to three minutes the first time) …')
const build = spawnSync(process.execPath, [join(root, 'scripts', 'build-native.mjs')], {
  stdio: 'inherit',
  cwd: root,
})
if (build.status !== 0) {
  console.error('phyllo: the native core did not build; the compiler says why above.')
  process.exit(build.status ?? 1)
}
