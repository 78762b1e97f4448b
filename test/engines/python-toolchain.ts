/**
 * Finds what the engines need of the machine: a Python 3.11 (vLLM's CPU wheels are built for it), uv (which installs
 * 2 GB in ten seconds where pip takes minutes), gcc and readelf, and libnuma.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { paths } from './paths.js'

const UV_VERSION = '0.13.8'
const PYTHON = '3.11'

export interface Toolchain {
  readonly uv: string
  readonly python: string
}

export function findToolchain(): Toolchain {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `the engines' wheels are for Linux on x86-64 only, this is ${process.platform}-${process.arch}`,
    )
  }
  const missing = ['gcc', 'readelf'].filter(tool => output(tool, ['--version']) === undefined)
  if (missing.length > 0) {
    throw new Error(`missing: ${missing.join(' and ')} (Debian, Ubuntu: apt-get install gcc binutils)`)
  }
  const uv = findUv()
  return { uv, python: findPython(uv) }
}

/**
 * vLLM's kernels are linked to libnuma, which no wheel carries. Without it, vLLM goes on for a minute and then misses a
 * function. Asked at every run: the environments may come from a cache of another machine.
 */
export function requireLibnuma(python: string): void {
  if (output(python, ['-c', 'import ctypes; ctypes.CDLL("libnuma.so.1")']) !== undefined) return
  throw new Error('missing: libnuma.so.1 (Debian, Ubuntu: apt-get install libnuma1)')
}

/** Output of a command; undefined if it is not there or fails (as pyenv's shims do for versions not selected). */
function output(command: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

function pythonsInSight(): string[] {
  return [`python${PYTHON}`, ...pyenvPythons(), 'python3', 'python']
}

/** pyenv's shims answer only for versions that are selected; the versions themselves are here. */
function pyenvPythons(): string[] {
  const { PYENV_ROOT = join(homedir(), '.pyenv') } = process.env
  const versions = join(PYENV_ROOT, 'versions')
  if (!existsSync(versions)) return []
  const fitting = readdirSync(versions).filter(name => name.startsWith(`${PYTHON}.`))
  return fitting.map(name => join(versions, name, 'bin', 'python'))
}

/** uv from the PATH, or fetched with any Python's pip. */
function findUv(): string {
  if (output('uv', ['--version']) !== undefined) return 'uv'
  const home = join(paths.cache, 'uv-tool')
  const uv = join(home, 'bin', 'uv')
  if (output(uv, ['--version'])?.includes(UV_VERSION)) return uv
  mkdirSync(home, { recursive: true })
  const install = ['-m', 'pip', 'install', '--quiet', '--upgrade', '--target', home, `uv==${UV_VERSION}`]
  for (const python of pythonsInSight()) {
    if (output(python, install) !== undefined && output(uv, ['--version']) !== undefined) return uv
  }
  throw new Error(
    'found neither uv nor a Python with pip to fetch it with (Debian, Ubuntu: apt-get install python3-pip; ' +
      'or see https://docs.astral.sh/uv/)',
  )
}

/** A Python of the right version: the machine's, one that uv knows of, or one that uv fetches. */
function findPython(uv: string): string {
  const script = 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
  for (const candidate of pythonsInSight()) {
    const [version, ...path] = output(candidate, ['-c', script])?.split(' ') ?? []
    if (version === PYTHON) return path.join(' ')
  }
  const known = output(uv, ['python', 'find', PYTHON])
  if (known !== undefined) return known
  const env = { ...process.env, UV_PYTHON_INSTALL_DIR: join(paths.cache, 'python') }
  spawnSync(uv, ['python', 'install', PYTHON], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const { status, stdout } = spawnSync(uv, ['python', 'find', PYTHON], { env, encoding: 'utf8' })
  if (status === 0) return stdout.trim()
  throw new Error(
    `found no Python ${PYTHON}: looked at ${pythonsInSight().join(', ')} and asked uv, which could not fetch one ` +
      `either (pyenv install ${PYTHON}; or Debian 12: apt-get install python3)`,
  )
}
