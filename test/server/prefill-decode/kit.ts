/**
 * A disaggregated fleet as a user runs one: a YAML file with roles and a workflow, the real router, two simulated prefill
 * engines and two decode engines, and one engine more that serves alone, whose answers are what a split one must equal.
 */
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { stringify } from 'yaml'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import { startRouter } from '#phyllo/server/router.js'
import { type RunningEngine, startEngine } from '#phyllo/simulation/engine/http.js'
import type { EngineOptionsInput } from '#phyllo/simulation/engine/options.js'
import { isClean } from '../../simulation/hand-off/kit.js'
import { type TestRouter, testRouter, until } from '../router-kit.js'

const fixtures = fileURLToPath(new URL('../../../../test/config/fixtures/', import.meta.url))

export type Connector = NonNullable<EngineOptionsInput['kvConnector']>

/** Which workflow goes with which connector. */
export const workflowOf: Readonly<Record<Connector, string>> = {
  nixl: 'prefill-decode/vllm-nixl',
  'p2p-nccl': 'prefill-decode/vllm-p2p-nccl',
  mooncake: 'prefill-decode/vllm-mooncake',
  sglang: 'prefill-decode/sglang',
  generic: 'prefill-decode/generic',
}

/** Those that send what is short straight to the decode pod. */
const isChoosing = (connector: Connector): boolean =>
  connector === 'nixl' || connector === 'generic' || connector === 'mooncake'

export interface FleetOptions {
  readonly connector: Connector
  readonly workers?: number
  /** Options of the workflow. */
  readonly execute?: Record<string, unknown>
  /** The profile of the decode step, in place of the one that knows its turns. */
  readonly decode?: Record<string, unknown>
  /** More of the file. */
  readonly file?: Record<string, unknown>
  readonly engines?: EngineOptionsInput
  /** One engine more, of role mixed, for what cannot be split. */
  readonly whole?: boolean
}

/** What a pod is in the file. */
export interface FilePod {
  readonly id: string
  readonly url: string
  readonly role: string
  readonly kvTransfer: Record<string, unknown>
  readonly labels?: Record<string, string>
}

/**
 * The file. Of each role's pods the one labelled `turn: first` is picked while it may be, so that a test knows whom its
 * fault hits; and nothing opens a circuit or marks a pod unhealthy, so that it is picked again in the next test.
 */
export function fileFor(
  { connector, workers = 1, execute, decode, file }: FleetOptions,
  pods: readonly FilePod[],
) {
  const first = { 'label-match': { label: 'turn', value: 'first' } }
  const step = {
    prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
    filter: ['healthy', 'circuit-closed'],
    score: [first],
    pick: 'max-score',
    execute: 'single',
  }
  const own = isChoosing(connector) ? { threshold: 0, ...execute } : execute
  return stringify({
    plugins: ['label-match.mjs'],
    listen: { host: '127.0.0.1', port: 0, workers, engine: 'node' },
    admin: { port: 0 },
    log: { level: 'silent' },
    health: { intervalMs: 100, unhealthyAfter: 100 },
    breaker: { failures: 1000, latencyFactor: 0 },
    upstream: { keepAliveMs: 500 },
    scrape: { intervalMs: 0 },
    profiles: {
      prefill: step,
      decode: decode ?? step,
      split: {
        ...step,
        execute: own === undefined ? workflowOf[connector] : { [workflowOf[connector]]: own },
      },
    },
    defaults: { profile: 'split' },
    pods,
    ...file,
  })
}

/** Starts a router from a file's text. */
export async function startFrom(text: string): Promise<TestRouter> {
  const loaded = parseConfig(text, { baseDir: fixtures })
  if (!loaded.ok) throw new Error(formatIssues(loaded.issues))
  return testRouter(await startRouter(loaded.config))
}

const roles = ['prefill', 'decode'] as const
export type Role = (typeof roles)[number]

export interface Fleet {
  readonly router: TestRouter
  readonly connector: Connector
  /** Two of each; the first is picked first. */
  readonly prefill: readonly [RunningEngine, RunningEngine]
  readonly decode: readonly [RunningEngine, RunningEngine]
  /** Serves whole requests, where there is one. */
  readonly whole: RunningEngine | undefined
  /** The same model, without the router. */
  readonly alone: RunningEngine
  close(): Promise<void>
}

/** What a user writes under `kvTransfer` for such an engine. */
function transferOf(connector: Connector, { kvAddress }: RunningEngine): Record<string, unknown> {
  if (kvAddress === null) return { connector }
  const { host, port } = kvAddress
  return connector === 'p2p-nccl'
    ? { connector, address: `${host}:${port}` }
    : { connector, bootstrapPort: port }
}

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { connector } = options
  const shared = { port: 0, model: 'tiny', speed: 500, listen: 'node', ...options.engines } as const
  const engine = (role: Role, seed: number) =>
    startEngine({ seed, ...shared, kvConnector: connector, kvPort: 0, role })
  const prefill = [await engine('prefill', 1), await engine('prefill', 2)] as const
  const decode = [await engine('decode', 3), await engine('decode', 4)] as const
  const alone = await startEngine({ seed: 5, ...shared })
  const whole = options.whole === true ? await startEngine({ seed: 6, ...shared }) : undefined
  const engines = { prefill, decode }
  const legs = roles.flatMap(role =>
    engines[role].map((each, i) => ({
      id: `${role}-${i}`,
      url: each.url,
      role,
      kvTransfer: transferOf(connector, each),
      labels: { turn: i === 0 ? 'first' : 'second' },
    })),
  )
  const mixed = { id: 'whole', role: 'mixed', kvTransfer: {}, labels: { turn: 'first' } }
  const pods = whole === undefined ? legs : [...legs, { ...mixed, url: whole.url }]
  const router = await startFrom(fileFor(options, pods))
  await until(
    async () =>
      (await router.pods()).every(
        pod => pod.healthy === true && pod.models.length > 0 && isKnown(connector, pod),
      ),
    'all are up',
  )
  return {
    router,
    connector,
    prefill,
    decode,
    whole,
    alone,
    async close() {
      await router.close()
      const all = [...prefill, ...decode, alone, ...(whole === undefined ? [] : [whole])]
      await Promise.all(all.map(each => each.close()))
    },
  }
}

/** A Mooncake pod takes no prefill before its engine is known. */
function isKnown(connector: Connector, pod: Readonly<Record<string, unknown>>): boolean {
  if (connector !== 'mooncake' || pod['role'] !== 'prefill') return true
  const { kvTransfer } = pod
  return typeof kvTransfer === 'object' && kvTransfer !== null && 'engines' in kvTransfer
}

/** One fleet for all tests of a file, which are serial then. */
export function sharedFleet(options: FleetOptions): () => Promise<Fleet> {
  let started: Promise<Fleet> | undefined
  test.after.always(async () => (await started)?.close())
  return () => {
    started ??= startFleet(options)
    return started
  }
}

/** A fleet for this test alone. */
export async function fleetFor(t: ExecutionContext, options: FleetOptions): Promise<Fleet> {
  const fleet = await startFleet(options)
  t.teardown(() => fleet.close())
  return fleet
}

/** All engines that play a part. */
export const enginesOf = ({ prefill, decode }: Fleet): readonly RunningEngine[] => [...prefill, ...decode]

/** Requests for text that an engine has had so far. */
export const served = (engine: RunningEngine): number =>
  Object.entries(engine.requests()).reduce(
    (sum, [route, count]) => sum + (/^POST \/v1\/(chat\/)?completions$/.test(route) ? count : 0),
    0,
  )

/** Nothing is left of any request: no booking at the router, no sequence, block or hand-off at an engine. */
export async function settled(fleet: Fleet): Promise<void> {
  let left = ''
  await until(async () => {
    const busy = (await fleet.router.pods()).filter(
      pod => pod.inflight + pod.pendingTokens + pod.activeTokens !== 0,
    )
    const engines = enginesOf(fleet).map((engine, i) => ({
      i,
      clean: isClean(engine),
      ...engine.stats(),
      hand: engine.handOffs(),
    }))
    const unclean = engines.filter(({ clean }) => !clean)
    left = JSON.stringify({ busy, unclean })
    return busy.length === 0 && unclean.length === 0
  }, 'nothing is left of any request').catch((error: unknown) => {
    throw new Error(`${String(error)}: ${left}`)
  })
}

/** Takes all faults back. */
export async function heal(fleet: Fleet): Promise<void> {
  for (const engine of enginesOf(fleet)) engine.setFault(null)
}

let prompts = 0
/** A prompt of some 300 tokens that no other has, so that no cache knows it. */
export const prompt = (): string =>
  `Prompt ${prompts++} ${'the quick brown fox jumps over the lazy dog. '.repeat(24)}`

/** A greedy chat of eight tokens: its text depends on the prompt alone. */
export const chat = (fields: object = {}): Record<string, unknown> => ({
  model: 'tiny',
  messages: [{ role: 'user', content: prompt() }],
  max_tokens: 8,
  temperature: 0,
  ...fields,
})

export const completion = (fields: object = {}): Record<string, unknown> => ({
  model: 'tiny',
  prompt: prompt(),
  max_tokens: 8,
  temperature: 0,
  ...fields,
})
