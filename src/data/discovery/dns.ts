/**
 * Pods from DNS: each address (A, AAAA) or each host with its port (SRV) of a name is one. SRV records' weights and
 * priorities say nothing here: the router's own scores do better.
 *
 * An answer counts as it is, and adds and removes. No answer (a timeout, SERVFAIL, a refusal) changes nothing, and
 * neither does NXDOMAIN: a service's name does not vanish in normal operation, but name servers that have just started
 * deny names that they have not learned yet.
 */
import { Resolver } from 'node:dns/promises'
import type { PodSpec } from '../pod-registry.js'
import type { KvTransfer, PodRole } from '../pod-role.js'
import { Poller } from './poller.js'
import type { PodSource, SourceEvents } from './source.js'

export interface DnsDiscoveryOptions {
  /** Asked for as it is: search domains are not tried. */
  readonly name: string
  readonly type: 'A' | 'AAAA' | 'SRV'
  /** Of pods found by address; SRV records name their own. */
  readonly port: number
  readonly scheme: 'http' | 'https'
  /** Longest time between two questions; a record's shorter TTL brings the next one forward. */
  readonly intervalMs: number
  /** Name servers as `ip` or `ip:port`; empty: the system's. */
  readonly servers: readonly string[]
  /** As in PodSpec, for each pod found. */
  readonly models?: readonly string[] | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly maxInflight: number
  readonly dataParallel: number
  readonly variant?: string | undefined
  readonly role?: PodRole | undefined
  readonly kvTransfer?: KvTransfer | undefined
}

/**
 * Answers without a record that count only if so many come in a row. CoreDNS answers five seconds after its start
 * whether it knows a service's endpoints by then or not; three answers are 10 s at the default interval. Pods that are
 * truly gone have failed their health checks by then.
 */
export const EMPTY_ANSWERS = 3

/** A name server's answer takes milliseconds; a lost packet's turn comes twice within an interval of the default. */
const QUERY = { timeout: 1_000, tries: 2 } as const

/** A TTL of 0 or 1 s does not ask for more questions than that. */
const MIN_TTL_MS = 1_000

/** What an answer says. */
interface Answer {
  /** `host:port`, IPv6 in brackets. */
  readonly hosts: readonly string[]
  /** Shortest TTL of its records; Infinity where Node tells none (SRV). */
  readonly ttlMs: number
}

export class DnsSource implements PodSource {
  readonly name: string
  readonly #resolver = new Resolver(QUERY)
  readonly #poller: Poller
  #emptyAnswers = 0
  /** The last answer had records. */
  #hadRecords = false

  constructor(private readonly options: DnsDiscoveryOptions) {
    const port = options.type === 'SRV' ? '' : `:${options.port}`
    this.name = `DNS ${options.type} ${options.name}${port}`
    if (options.servers.length > 0) this.#resolver.setServers(options.servers)
    this.#poller = new Poller(options.intervalMs)
  }

  start(events: SourceEvents): Promise<void> {
    return this.#poller.start(async () => {
      try {
        const answer = await this.#ask()
        if (this.#poller.stopped) return
        if (this.#holds(answer)) events.found(answer.hosts.map(host => this.#pod(host)))
        else
          events.failed(`${this.name} has no records, which counts after ${EMPTY_ANSWERS} answers in a row`)
        return Math.min(this.options.intervalMs, Math.max(answer.ttlMs, MIN_TTL_MS))
      } catch (error) {
        if (!this.#poller.stopped) events.failed(`${this.name} is not answered: ${reasonOf(error)}`)
      }
    })
  }

  stop(): void {
    this.#poller.stop()
    this.#resolver.cancel()
  }

  /** Does this answer count? */
  #holds({ hosts }: Answer): boolean {
    this.#emptyAnswers = hosts.length > 0 ? 0 : this.#emptyAnswers + 1
    if (hosts.length > 0) this.#hadRecords = true
    return !this.#hadRecords || hosts.length > 0 || this.#emptyAnswers >= EMPTY_ANSWERS
  }

  async #ask(): Promise<Answer> {
    const { name, type, port } = this.options
    try {
      if (type === 'SRV') return srvAnswer(await this.#resolver.resolveSrv(name))
      const records =
        type === 'A'
          ? await this.#resolver.resolve4(name, { ttl: true })
          : await this.#resolver.resolve6(name, { ttl: true })
      return {
        hosts: records.map(({ address }) => (type === 'A' ? `${address}:${port}` : `[${address}]:${port}`)),
        ttlMs: Math.min(...records.map(({ ttl }) => ttl * 1000)),
      }
    } catch (error) {
      // The name is there, without records of this type: an answer, unlike NXDOMAIN.
      if (codeOf(error) === 'ENODATA') return { hosts: [], ttlMs: Number.POSITIVE_INFINITY }
      throw error
    }
  }

  #pod(host: string): PodSpec {
    const { scheme, models, labels, maxInflight, dataParallel, variant, role, kvTransfer } = this.options
    const traits = { models, labels, maxInflight, dataParallel, variant, role, kvTransfer }
    return { url: `${scheme}://${host}`, id: host, ...traits }
  }
}

function srvAnswer(records: readonly { readonly name: string; readonly port: number }[]): Answer {
  // A target of "." says that the service is not offered here (RFC 2782).
  const offered = records.filter(({ name, port }) => name !== '' && name !== '.' && port > 0)
  const hosts = offered.map(({ name, port }) => `${name.replace(/\.$/, '').toLowerCase()}:${port}`)
  return { hosts: [...new Set(hosts)], ttlMs: Number.POSITIVE_INFINITY }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

const reasons: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such name (NXDOMAIN)',
  ESERVFAIL: 'the name server failed (SERVFAIL)',
  ETIMEOUT: 'no name server answered in time',
  ECONNREFUSED: 'no name server could be reached',
  EREFUSED: 'the name server refused',
  EBADRESP: 'the answer could not be read',
  EFORMERR: 'the name server did not understand the question',
}

const reasonOf = (error: unknown): string => reasons[codeOf(error)] ?? codeOf(error)
