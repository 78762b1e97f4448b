/**
 * Pods from a file: a YAML or JSON list as under `pods:` in the configuration. The file is read again and again and
 * compared by content, which works where watches do not: on network file systems, across a rename over it, and when
 * Kubernetes swaps the symlink of a ConfigMap. A file that cannot be read, or of which any part is wrong, changes
 * nothing.
 */
import { constants, open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_SOURCE_BYTES, reason } from '../../yaml/source.js'
import type { FleetKvEvents } from '../pod-events.js'
import { type PodList, parsePodList } from './pod-list.js'
import { Poller } from './poller.js'
import type { PodSource, SourceEvents } from './source.js'

export interface FileDiscoveryOptions {
  /** Absolute path. */
  readonly path: string
  /** Between two looks at it. */
  readonly intervalMs: number
}

/**
 * Who writes a file in place is seen half-way, and half a list is a good list of fewer pods. So what is new is taken
 * only if the file still holds it a moment later: a program writes a list within microseconds, and the several writes
 * of an editor or a shell follow each other within a few milliseconds.
 */
const SETTLE_MS = 100
/** After two seconds of that, whoever writes there does not write a list of pods. */
const MAX_SETTLES = 20

export class FileSource implements PodSource {
  readonly name: string
  readonly #poller: Poller
  #content: Buffer | undefined
  #list: PodList | undefined

  constructor(
    private readonly options: FileDiscoveryOptions,
    private readonly fleetEvents: FleetKvEvents,
    /** Waits a moment between two readings of a file that has changed. */
    private readonly settle: () => Promise<unknown> = () => sleep(SETTLE_MS, undefined, { ref: false }),
  ) {
    this.name = `file ${options.path}`
    this.#poller = new Poller(options.intervalMs)
  }

  start(events: SourceEvents): Promise<void> {
    return this.#poller.start(async () => {
      const list = await this.#read()
      if (this.#poller.stopped) return
      if ('pods' in list) events.found(list.pods)
      else events.failed(list.fault)
    })
  }

  stop(): void {
    this.#poller.stop()
  }

  async #read(): Promise<PodList> {
    const { path } = this.options
    try {
      const content = await this.#settled()
      if (this.#list === undefined || !this.#isKnown(content)) {
        this.#content = content
        this.#list = parsePodList(content, path, this.fleetEvents)
      }
      return this.#list
    } catch (error) {
      return { fault: `${path} cannot be read: ${reason(error)}` }
    }
  }

  #isKnown(content: Buffer): boolean {
    return this.#content?.equals(content) ?? false
  }

  async #settled(): Promise<Buffer> {
    let content = await readWhole(this.options.path)
    for (let i = 0; i < MAX_SETTLES && !this.#isKnown(content); i++) {
      await this.settle()
      const again = await readWhole(this.options.path)
      if (again.equals(content)) return content
      content = again
    }
    if (this.#isKnown(content)) return content
    throw new Error('it changes all the time')
  }
}

async function readWhole(path: string): Promise<Buffer> {
  // Without O_NONBLOCK, opening a named pipe waits for a writer, and holds a thread of the pool until then.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const { size } = await file.stat().then(stat => {
      if (!stat.isFile()) throw new Error('it is no file')
      return stat
    })
    if (size > MAX_SOURCE_BYTES) throw new Error(`it is larger than ${MAX_SOURCE_BYTES} bytes`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
