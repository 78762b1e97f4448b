/**
 * The rivals: their released binaries from PyPI, each installed once in a venv of its own under .cache/. One that can't
 * be had here is left out, and the bench says so.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { freePort } from '../../test/free-port.js'
import { Server } from '../lib/child.js'
import { rootDir } from '../lib/results.js'
import { envoyConfig } from './envoy.js'

interface Rival {
  readonly package: string
  readonly version: string
  /** Its name in the results; by default package and version. */
  label?(bin: string): string
  command(bin: string, port: number, engines: readonly number[]): Promise<[string, readonly string[]]>
}

/** A router that is up, and where. */
export interface Subject {
  readonly name: string
  readonly origin: string
  readonly server: Server
}

const origin = (port: number): string => `http://127.0.0.1:${port}`

/** The two Rust routers take nearly the same flags: power of two choices is their nearest to least request. */
async function rustRouter(port: number, engines: readonly number[], quiet: string): Promise<string[]> {
  const listen = [
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--prometheus-port',
    String(await freePort()),
  ]
  const startup = ['--worker-startup-check-interval', '1', '--worker-startup-timeout-secs', '60']
  return [
    '--worker-urls',
    ...engines.map(origin),
    '--policy',
    'power_of_two',
    '--log-level',
    quiet,
    ...listen,
    ...startup,
  ]
}

const rivals: readonly Rival[] = [
  {
    package: 'sglang-router',
    version: '0.3.2',
    command: async (bin, port, engines) => [
      `${bin}/sglang-router`,
      ['launch', ...(await rustRouter(port, engines, 'warn'))],
    ],
  },
  {
    package: 'vllm-router',
    version: '0.1.17',
    command: async (bin, port, engines) => [`${bin}/vllm-router`, await rustRouter(port, engines, 'warning')],
  },
  {
    // Brings Envoy's own release binary.
    package: 'pyvoy',
    version: '1.3.0',
    label: bin => {
      const text = execFileSync(`${bin}/envoy`, ['--version'], { encoding: 'utf8' })
      return `envoy ${/\/(\d+\.\d+\.\d+)\//.exec(text)?.[1] ?? 'of pyvoy 1.3.0'}`
    },
    command: async (bin, port, engines) => {
      const file = `${rootDir}.cache/bench/envoy.json`
      mkdirSync(`${rootDir}.cache/bench`, { recursive: true })
      writeFileSync(file, envoyConfig(port, engines))
      return [
        `${bin}/envoy`,
        ['-c', file, '--concurrency', '1', '--log-level', 'warn', '--disable-hot-restart'],
      ]
    },
  },
]

/** Starts every rival that can be had; `serves` tells whether the router of that origin answers. */
export async function startRivals(
  engines: readonly number[],
  serves: (origin: string) => Promise<boolean>,
): Promise<Subject[]> {
  const started: Subject[] = []
  for (const rival of rivals) {
    try {
      const bin = install(rival)
      const port = await freePort()
      const name = rival.label?.(bin) ?? `${rival.package} ${rival.version}`
      const server = new Server(name, ...(await rival.command(bin, port, engines)))
      await server.ready(() => serves(origin(port)))
      started.push({ name, origin: origin(port), server })
    } catch (error) {
      const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
      console.log(`left out: ${rival.package} ${rival.version} (${reason})`)
    }
  }
  return started
}

/** Answers the directory of its executables. */
function install({ package: name, version }: Rival): string {
  const home = `${rootDir}.cache/rivals/${name}-${version}`
  const done = `${home}/installed`
  if (!existsSync(done)) {
    console.log(`installing ${name} ${version} into .cache/rivals`)
    rmSync(home, { recursive: true, force: true })
    execFileSync('python3', ['-m', 'venv', home], { stdio: 'pipe' })
    const pip = ['install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:']
    execFileSync(`${home}/bin/pip`, [...pip, `${name}==${version}`], { stdio: 'pipe' })
    writeFileSync(done, '')
  }
  return `${home}/bin`
}
