/** For programs that must be told their port before they start: tests and benches of whole processes. */
import { createServer } from 'node:net'

/**
 * Below the range that Linux takes ports for outgoing connections and for `port 0` from: nothing else is given one of
 * these between the look here and its use, nor while an engine on it ends and comes back.
 */
const FIRST = 20_000
const LAST = 30_000

const given = new Set<number>()

/** A port that nobody listens on at present; never the same one twice. */
export const freePort = (): Promise<number> => freePorts(1)

/** The first of so many free ports in a row: an engine's data-parallel ranks publish at port + rank. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 1_000; tries++) {
    const first = FIRST + Math.floor(Math.random() * (LAST - FIRST - count))
    const run = Array.from({ length: count }, (_, i) => first + i)
    if (!(await allFree(run))) continue
    for (const port of run) given.add(port)
    return first
  }
  throw new Error(`found no ${count} free ports in a row from ${FIRST} to ${LAST}`)
}

async function allFree(ports: readonly number[]): Promise<boolean> {
  for (const port of ports) if (given.has(port) || !(await isFree(port))) return false
  return true
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    // All addresses: engines bind their event sockets to `*`.
    server.listen(port, () => server.close(() => resolve(true)))
  })

/** Whether this machine has an IPv6 address, of its own at least. */
export function hasIpv6(): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(0, '::1', () => server.close(() => resolve(true)))
  })
}
