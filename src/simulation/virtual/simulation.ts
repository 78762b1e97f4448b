/**
 * One run: the workload's requests through the router to the pods, in virtual time. All that is random comes from the
 * scenario's seed and all time from its event queue, so that a run has one outcome.
 */
import type { Refusal } from '../../decision/plugin.js'
import { stepProfiles } from '../../decision/profiles/index.js'
import { single } from '../../execution/workflows/single.js'
import { seededRandom } from '../engine/random.js'
import type { EngineEvent, EngineStats } from '../engine/request.js'
import { EventQueue } from './event-queue.js'
import { type FleetPod, podsOf } from './fleet.js'
import { VirtualPod } from './pod.js'
import { FATE, Recorder } from './recorder.js'
import { numberOf, RequestRun, type RunParts } from './request-run.js'
import { type Decision, type Learnable, VirtualRouter } from './router.js'
import type { Scenario } from './scenario.js'
import { Transfers } from './transfers.js'
import type { VirtualRequest } from './workload.js'

/** What a run leaves behind. */
export interface RunRecord {
  readonly recorder: Recorder
  readonly pods: readonly FleetPod[]
  /** By pod. */
  readonly stats: readonly EngineStats[]
}

/** States of one process must not share a name. */
let runs = 0

/**
 * Runs a scenario to its end. Throws for a fleet without pods; rejects with what a profile's plugin throws.
 *
 * @param onEnd is told of each request that has ended
 */
export async function runScenario(
  scenario: Scenario,
  onEnd: () => void = () => undefined,
): Promise<RunRecord> {
  const run = new Run(scenario, onEnd)
  try {
    return await run.run()
  } finally {
    run.close()
  }
}

class Run {
  readonly #queue = new EventQueue()
  readonly #fleet: readonly FleetPod[]
  readonly #pods: readonly VirtualPod[]
  readonly #router: VirtualRouter
  readonly #recorder: Recorder
  readonly #underway = new Map<number, RequestRun>()
  readonly #parts: RunParts
  /** Requests that wait for the answer of another, by its number. */
  readonly #followers = new Map<number, number[]>()

  constructor(
    private readonly scenario: Scenario,
    private readonly onEnd: () => void,
  ) {
    const { workload, fleet, profile, seed, eventLagMs: lagMs, state } = scenario
    this.#fleet = podsOf(fleet)
    if (this.#fleet.length === 0) throw new RangeError('a fleet needs a pod')
    this.#recorder = new Recorder(workload.requests.length)
    this.#router = new VirtualRouter({
      stateName: `simulation-${++runs}`,
      state: { ...state, width: widthFor(this.#fleet.length) },
      profile,
      stepProfiles: scenario.stepProfiles ?? stepProfiles(single()),
      workflows: scenario.workflows,
      pods: this.#fleet.map(({ parameters, ...pod }) => ({ ...pod, ...parameters })),
      modelDir: workload.modelDir,
      random: seededRandom(seed),
      followsEvents: lagMs !== null,
    })
    this.#pods = this.#fleet.map(({ id, parameters }, at) => {
      const deliver = (sequence: Buffer, payload: Buffer): void => {
        this.#tick()
        this.#router.receive(at, sequence, payload)
      }
      const wire = lagMs === null ? null : { lagMs, deliver }
      return new VirtualPod(id, parameters, this.#queue, event => this.#hear(event), wire, seed * 1024 + at)
    })
    this.#parts = {
      queue: this.#queue,
      router: this.#router,
      pods: this.#pods,
      transfers: new Transfers(this.#fleet.map(({ parameters }) => parameters)),
      recorder: this.#recorder,
      ended: (number, fate, answer) => this.#ended(number, fate, answer),
    }
  }

  async run(): Promise<RunRecord> {
    this.scenario.workload.requests.forEach(({ atMs, after }, number) => {
      if (after === null) this.#arriveAt(atMs, number)
      else this.#followers.set(after, [...(this.#followers.get(after) ?? []), number])
    })
    const { metricIntervalMs } = this.scenario
    if (metricIntervalMs > 0) this.#queue.at(0, () => this.#look())
    await this.#queue.run()
    this.#checkConservation()
    return { recorder: this.#recorder, pods: this.#fleet, stats: this.#pods.map(pod => pod.stats()) }
  }

  close(): void {
    this.#router.close()
  }

  #arriveAt(ms: number, number: number): void {
    this.#queue.at(ms, () => {
      this.#recorder.arrivedAt[number] = this.#queue.now
      const { decisionMs } = this.scenario
      if (decisionMs === 0) return this.#decide(number)
      this.#queue.at(this.#queue.now + decisionMs, () => this.#decide(number))
    })
  }

  #decide(number: number): void | Promise<void> {
    this.#tick()
    const request = this.#request(number)
    const outcome = this.#router.decide(request)
    if (outcome instanceof Promise) return outcome.then(settled => this.#send(number, request, settled))
    this.#send(number, request, outcome)
  }

  #send(number: number, request: VirtualRequest, outcome: Decision | Refusal): void {
    if (typeof outcome === 'string') {
      return this.#end(number, outcome === 'overloaded' ? FATE.overloaded : FATE.noPod)
    }
    const run = new RequestRun(this.#parts, number, request, outcome)
    this.#underway.set(number, run)
    run.send()
  }

  #hear(event: EngineEvent): void {
    const number = numberOf(event)
    const run = this.#underway.get(number)
    if (run === undefined) throw new Error(`an engine tells of request ${number}, which nobody sent`)
    if (event.type === 'token') return run.token()
    this.#tick()
    run.hear(event)
  }

  #ended(number: number, fate: number, answer: Learnable | undefined): void {
    this.#underway.delete(number)
    // An event of its own: learning takes the thread pool, and the clock waits for it.
    if (answer !== undefined) this.#queue.at(this.#queue.now, () => this.#learn(number, answer))
    this.#end(number, fate)
  }

  #learn(number: number, answer: Learnable): void | Promise<void> {
    this.#tick()
    return this.#router.learn(answer, this.#request(number).prompt)
  }

  /** The request's end, which its follow-ups have waited for: a person who is refused asks on all the same. */
  #end(number: number, fate: number): void {
    const { now } = this.#queue
    this.#recorder.end(number, now, fate)
    this.onEnd()
    for (const next of this.#followers.get(number) ?? []) {
      const { atMs, thinkMs } = this.#request(next)
      this.#arriveAt(Math.max(atMs, now + thinkMs), next)
    }
    this.#followers.delete(number)
  }

  /** Reads all pods' metrics, and goes on doing so while there are requests to come. */
  #look(): void {
    const { metricIntervalMs, metricAgeMs } = this.scenario
    const figures = this.#pods.map(pod => pod.stats())
    this.#queue.at(this.#queue.now + metricAgeMs, () => {
      this.#tick()
      figures.forEach(({ running, waiting, usedBlocks, blocks }, pod) => {
        this.#router.tellLoad(pod, running, waiting, usedBlocks / blocks)
      })
    })
    if (this.#recorder.ended < this.#recorder.size) {
      this.#queue.at(this.#queue.now + metricIntervalMs, () => this.#look())
    }
  }

  #tick(): void {
    this.#router.setTime(this.#queue.now)
  }

  #request(number: number): VirtualRequest {
    const request = this.scenario.workload.requests[number]
    if (request === undefined) throw new Error(`unreachable: there is no request ${number}`)
    return request
  }

  /** Every request has ended once, and nothing is left of it. */
  #checkConservation(): void {
    const { size, ended } = this.#recorder
    if (ended !== size) throw new Error(`${size - ended} of ${size} requests never ended`)
    const left = this.#router.inflight().reduce((sum, count) => sum + count, 0)
    if (left !== 0) throw new Error(`${left} requests are still booked after the end`)
    if (this.#router.open !== 0) throw new Error(`${this.#router.open} decisions never ended`)
    for (const pod of this.#pods) {
      const { pulling, holding } = pod.stats()
      if (pulling + holding !== 0)
        throw new Error(`pod ${pod.id} still has blocks that are to be handed over`)
    }
  }
}

/** The narrowest index that holds the pods. Throws a RangeError beyond 1,024. */
function widthFor(pods: number): 64 | 256 | 1024 {
  if (pods > 1024) throw new RangeError(`a fleet has 1,024 pods at most, not ${pods}`)
  return pods <= 64 ? 64 : pods <= 256 ? 256 : 1024
}
