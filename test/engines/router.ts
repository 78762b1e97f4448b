/** The router under test: `phyllo serve -c FILE` as a child process, before the real engines. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { z } from 'zod'
import type { ConfigInput } from '#phyllo/config/schema.js'
import { freePorts } from '../free-port.js'
import { seconds, until } from './harness.js'
import { logFileOf, paths } from './paths.js'
import { Child } from './processes.js'

export interface Router {
  readonly url: string
  readonly adminUrl: string
  readonly process: Child
}

/** What differs between the phases' routers. */
export type FleetConfig = Pick<ConfigInput, 'pods' | 'models' | 'slowStartMs' | 'profiles' | 'decisionLog'>

const START_MS = 60_000

/** Starts a router of that name, and waits until it is ready and lists these models. */
export async function startRouter(
  name: string,
  fleet: FleetConfig,
  models: readonly string[],
): Promise<Router> {
  const started = performance.now()
  const port = await freePorts(2)
  const adminPort = port + 1
  const file = join(paths.cache, `${name}.yaml`)
  writeFileSync(file, stringify(config(fleet, port, adminPort)))
  const child = new Child(name, process.execPath, [paths.cli, 'serve', '-c', file], logFileOf(name))
  const url = `http://127.0.0.1:${port}`
  const router = { url, adminUrl: `http://127.0.0.1:${adminPort}`, process: child }
  try {
    await until(START_MS, `${name} lists ${models.join(' and ')}`, async () => {
      if (child.ended !== undefined) throw new Error(`${name} ended: ${child.ended}`)
      const listed = await modelNames(url).catch((): string[] => [])
      // The admin port comes up last.
      return (models.every(model => listed.includes(model)) && (await isReady(router))) || undefined
    })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${reason}\n${child.evidence(50)}`)
  }
  console.log(`# ${name} is up at ${router.url} (${seconds(started)})`)
  return router
}

function config(fleet: FleetConfig, port: number, adminPort: number): ConfigInput {
  return {
    // Two workers, so that what they must share is shared or a case fails.
    listen: { host: '127.0.0.1', port, workers: 2 },
    admin: { port: adminPort },
    ...fleet,
    // Often, so that a killed pod is soon noticed; but an engine that has the CPU to share may take its time.
    health: { intervalMs: 1_000, timeoutMs: 10_000, unhealthyAfter: 2 },
    // No pod is out for being slow: how fast each is here depends on what else runs on the machine.
    breaker: { latencyFactor: 0 },
    log: { level: 'info', format: 'text' },
  }
}

const isReady = ({ adminUrl }: Router): Promise<boolean> =>
  fetch(`${adminUrl}/readyz`).then(
    ({ ok }) => ok,
    () => false,
  )

const modelList = z.object({ data: z.array(z.object({ id: z.string() })) })

export async function modelNames(url: string): Promise<string[]> {
  const answer = await fetch(`${url}/v1/models`)
  return modelList.parse(await answer.json()).data.map(({ id }) => id)
}
