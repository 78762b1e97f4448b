/** Discovery as a whole: the sources that the options name, what they know brought into the registry, what to log. */
import { type Logger, saidOnce } from '../../telemetry/log.js'
import type { FleetKvEvents } from '../pod-events.js'
import { type DnsDiscoveryOptions, DnsSource } from './dns.js'
import { type FileDiscoveryOptions, FileSource } from './file.js'
import { type Fleet, Reconciler } from './reconciler.js'
import type { PodSource, SourceEvents } from './source.js'

export interface DiscoveryOptions {
  readonly file?: FileDiscoveryOptions | undefined
  readonly dns: readonly DnsDiscoveryOptions[]
}

/** How a source is doing. */
export interface SourceStatus {
  readonly name: string
  /** Pods in the registry that are its. */
  readonly pods: number
  /** Looks that went wrong so far. */
  readonly failures: number
  /** What was wrong with the last look; undefined if nothing. */
  readonly fault: string | undefined
}

/** The sources that the options name. */
export function sourcesOf({ file, dns }: DiscoveryOptions, fleetEvents: FleetKvEvents): PodSource[] {
  const files = file === undefined ? [] : [new FileSource(file, fleetEvents)]
  return [...files, ...dns.map(options => new DnsSource(options))]
}

interface Track {
  failures: number
  fault: string | undefined
}

export class Discovery {
  readonly #reconciler: Reconciler
  readonly #tracks = new Map<string, Track>()
  readonly #once = saidOnce()
  #following: Promise<void> = Promise.resolve()

  constructor(
    private readonly sources: readonly PodSource[],
    fleet: Fleet,
    private readonly log: Logger,
  ) {
    this.#reconciler = new Reconciler(fleet, {
      added: (source, name) => log.info(`pod ${name} found by ${source}`),
      removed: (source, name) => log.info(`pod ${name} is gone from ${source}; its running requests finish`),
      changed: (source, name) => log.info(`pod ${name} changed in ${source}`),
      refused: (source, name, why) => {
        if (this.#once(`${name} ${why}`)) log.warn(`pod ${name} of ${source} cannot be added: ${why}`)
      },
    })
  }

  /** Resolves when every source has looked once and what it found is in the registry. */
  async start(): Promise<void> {
    await Promise.all(this.sources.map(source => source.start(this.#eventsOf(source.name))))
    await this.#following
  }

  /** No pod comes or goes any more by discovery; those that are there stay. */
  stop(): void {
    for (const source of this.sources) source.stop()
  }

  status(): SourceStatus[] {
    return this.sources.map(({ name }) => {
      const { failures, fault } = this.#track(name)
      return { name, pods: this.#reconciler.owned(name), failures, fault }
    })
  }

  #eventsOf(source: string): SourceEvents {
    const track = this.#track(source)
    return {
      found: pods => {
        if (track.fault !== undefined) this.log.info(`${source} can be read again: ${pods.length} pods`)
        track.fault = undefined
        this.#following = this.#reconciler.found(source, pods).catch((error: unknown) => {
          this.log.error({ err: error }, `the pods of ${source} could not be taken over`)
        })
      },
      failed: why => {
        track.failures += 1
        // Once: it will be the same at the next look, and at all that follow.
        if (track.fault !== why) this.log.warn(`${why}; the pods found before stay`)
        track.fault = why
      },
    }
  }

  #track(source: string): Track {
    const known = this.#tracks.get(source)
    if (known !== undefined) return known
    const track = { failures: 0, fault: undefined }
    this.#tracks.set(source, track)
    return track
  }
}
