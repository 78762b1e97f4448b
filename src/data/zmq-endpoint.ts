/** ZMQ endpoints as operators write them, taken apart and judged, with an answer that says what to write instead. */

export type ZmqEndpoint =
  | {
      readonly scheme: 'tcp'
      /** `*`, a name or an address; IPv6 in brackets. */
      readonly host: string
      readonly port: number
    }
  | { readonly scheme: 'ipc'; readonly path: string }

/** Why a text is no endpoint, and what to write instead. */
export interface ZmqEndpointFault {
  readonly fault: string
  readonly fix: string
}

export const MAX_PORT = 65_535

const tcp = /^tcp:\/\/(\*|[\w.-]+|\[[0-9a-fA-F:.]+(?:%[\w.]+)?\]):(\d{1,5})$/
const ipc = /^ipc:\/\/(\S+)$/
/** A socket can listen on all addresses, but there is none that one could connect to. */
const everywhere = new Set(['*', '0.0.0.0', '[::]'])

/** Takes an endpoint apart. `use`: whether the router connects to it or listens there. */
export function parseZmqEndpoint(text: string, use: 'connect' | 'bind'): ZmqEndpoint | ZmqEndpointFault {
  const path = ipc.exec(text)?.[1]
  if (path !== undefined && path !== '*') return { scheme: 'ipc', path }
  const example = use === 'bind' ? 'tcp://*:5557' : 'tcp://host:5557'
  const [, host, digits] = tcp.exec(text) ?? []
  const port = Number(digits)
  if (host === undefined || !(port >= 1 && port <= MAX_PORT)) {
    const fault = `expected a ZMQ endpoint, got ${JSON.stringify(text)}`
    return { fault, fix: `write ${example} or ipc:///path/of/socket` }
  }
  if (use === 'connect' && everywhere.has(host)) {
    const fault = `nothing can connect to ${text}: that is where an engine listens`
    return { fault, fix: `name the engine's host: tcp://host:${port}` }
  }
  return { scheme: 'tcp', host, port }
}

/** 0 where it has none, or is no endpoint. */
export function portOf(endpoint: string): number {
  const parsed = parseZmqEndpoint(endpoint, 'bind')
  return 'fault' in parsed || parsed.scheme !== 'tcp' ? 0 : parsed.port
}

/**
 * The endpoint of a data-parallel rank: vLLM and SGLang count the port up. An `ipc` endpoint has no port; the
 * configuration's checks let no engine of several ranks have one.
 */
export function endpointOfRank(endpoint: string, rank: number): string {
  const parsed = parseZmqEndpoint(endpoint, 'connect')
  if (rank === 0 || 'fault' in parsed || parsed.scheme !== 'tcp') return endpoint
  return `tcp://${parsed.host}:${parsed.port + rank}`
}
