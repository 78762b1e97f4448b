/** A prefill and two decode vLLMs behind the router, with a config as an operator writes it. One decode pod is kept aside. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type OpenAI from 'openai'
import { z } from 'zod'
import { type DecisionRecord, decisionRecord } from '#phyllo/decision/record/schema.js'
import { VLLM_MODEL } from '../../engine.js'
import { cacheOf } from '../../explain.js'
import { clientOf, post } from '../../fleet.js'
import { until } from '../../harness.js'
import { paths } from '../../paths.js'
import { type FleetConfig, type Router, startRouter } from '../../router.js'
import { LEASE_SECONDS, type Pair, type Role } from '../fleet.js'
import { type Body, type Path, type Said, say } from '../legs.js'

/** Uncached tokens up to which a request goes straight to decode: below the cases' prompts of 170 tokens. */
export const THRESHOLD = 100
/**
 * What a decode pod may take for a stream's first byte: longer than the lease, so that a hand-off surely expires in it, and
 * than an engine takes on a machine so busy that it gets no CPU for seconds (9 s were seen, at a load of 13 on two cores).
 */
const FIRST_BYTE_MS = (LEASE_SECONDS + 6) * 1_000
/** Log lines, metrics and health follow what happens; on a machine that others keep busy by seconds. */
export const NOTICE_MS = 30_000

const NAME = 'router-disaggregated'
const log = join(paths.cache, `${NAME}-decisions.jsonl`)

const podStatus = z.object({
  id: z.enum(['prefill', 'decode', 'spare']),
  inflight: z.number(),
  healthy: z.boolean().nullable(),
  breaker: z.string(),
})
export type PodStatus = z.infer<typeof podStatus>
const podList = z.object({ pods: z.array(podStatus) })

export class RoutedFleet {
  readonly client: OpenAI
  /** Of the prefill engine itself: what the router's answers must equal. */
  readonly prefillClient: OpenAI

  constructor(
    readonly pair: Pair,
    readonly router: Router,
  ) {
    this.client = clientOf(router.url)
    this.prefillClient = clientOf(pair.prefill.url)
  }

  send(path: Path, body: Body, signal?: AbortSignal): Promise<Said> {
    return say(this.router.url, path, body, signal)
  }

  /** What the decision log has of a request, by the id that its answer named. Its line comes a moment later. */
  decision(id: string | null): Promise<DecisionRecord> {
    return until(NOTICE_MS, `a line of request ${id} in the decision log`, () => {
      // The last one is empty, or not yet whole.
      const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : []
      const line = lines.find(text => id !== null && text.includes(id))
      return line === undefined ? undefined : decisionRecord.parse(JSON.parse(line))
    })
  }

  /** The workflow that served it in the end, and why, as one text. */
  async way(id: string | null): Promise<string> {
    const last = (await this.decision(id)).ways?.at(-1)
    return last === undefined ? 'no choice' : `${last.workflow}: ${last.why}`
  }

  async status(pod: Role): Promise<PodStatus> {
    const found = (await this.#statuses()).find(({ id }) => id === pod)
    if (found === undefined) throw new Error(`the router has no pod ${pod}`)
    return found
  }

  /**
   * Waits until requests are under way on the pods in these numbers, by the router's count. Twice in a row: pods of a request
   * are booked one after the other.
   */
  async inFlight(counts: Partial<Record<Role, number>>): Promise<void> {
    let times = 0
    await until(NOTICE_MS, `in flight: ${JSON.stringify(counts)}`, async () => {
      const statuses = await this.#statuses()
      const isSo = statuses.every(({ id, inflight }) => inflight === (counts[id] ?? inflight))
      times = isSo ? times + 1 : 0
      return times >= 2 || undefined
    })
  }

  async cordon(pod: Role, on: boolean): Promise<void> {
    const { status, text } = await post(
      this.router.adminUrl,
      `/pods/${pod}/${on ? 'cordon' : 'uncordon'}`,
      '',
    )
    if (status !== 200) throw new Error(text)
  }

  /** Waits until the router takes the pod as it is after a restart: well, its cache known. */
  async inService(pod: Role): Promise<void> {
    await until(NOTICE_MS, `${pod} is in service`, async () => {
      const { healthy, breaker } = await this.status(pod)
      return (healthy === true && breaker !== 'open' && (await this.#isExact(pod))) || undefined
    })
  }

  async startedUp(): Promise<void> {
    for (const role of this.pair.places.keys()) await this.inService(role)
  }

  /** All at one moment. */
  async #statuses(): Promise<readonly PodStatus[]> {
    return podList.parse(await (await fetch(`${this.router.adminUrl}/pods`)).json()).pods
  }

  async #isExact(pod: Role): Promise<boolean> {
    return (await cacheOf(this.router, pod)).mode === 'exact'
  }
}

/** The router before a trio that runs. */
export async function startRouted(pair: Pair): Promise<RoutedFleet> {
  if (existsSync(log)) rmSync(log)
  const router = await startRouter(NAME, configOf(pair), [VLLM_MODEL])
  const fleet = new RoutedFleet(pair, router)
  await fleet.startedUp()
  return fleet
}

/** Where one pod is to be had, it must be that one: the second decode pod joins in the cases that need it. */
function configOf({ places, installation }: Pair): FleetConfig {
  return {
    pods: [...places].map(([id, { port, events }]) => ({
      id,
      url: `http://127.0.0.1:${port}`,
      role: id === 'prefill' ? 'prefill' : 'decode',
      kvTransfer: { connector: 'nixl' },
      kvEvents: {
        endpoint: `tcp://127.0.0.1:${events.port}`,
        replay: `tcp://127.0.0.1:${events.replayPort}`,
      },
      cordoned: id === 'spare',
    })),
    models: [{ name: VLLM_MODEL, dir: installation.modelDir, profile: 'two-pods' }],
    profiles: {
      'two-pods': {
        prepare: ['tokenize', 'hash-blocks', 'match-prefix'],
        filter: ['healthy', 'circuit-closed'],
        score: ['prefill-time'],
        pick: 'max-score',
        execute: {
          'prefill-decode/vllm-nixl': { threshold: THRESHOLD, firstByteTimeoutMs: FIRST_BYTE_MS },
        },
      },
    },
    decisionLog: { path: log, rate: 1 },
    slowStartMs: 0,
  }
}
