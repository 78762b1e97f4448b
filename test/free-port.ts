/** For programs that must be told their port before they start: tests and benches of whole processes. */
import { createServer } from 'node:net'

/** A port that nobody listens on at present. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port)
        else reject(new Error('a TCP server has no port'))
      })
    })
  })
}

/** Whether this machine has an IPv6 address, of its own at least. */
export function hasIpv6(): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(0, '::1', () => server.close(() => resolve(true)))
  })
}
