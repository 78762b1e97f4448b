/**
 * Request ids: the client's own if it is usable, else `phy-` + a random part per thread + a counter. A UUID would cost
 * a microsecond a request and say no more.
 */
import { randomBytes } from 'node:crypto'

const prefix = `phy-${randomBytes(6).toString('hex')}-`
/** Visible ASCII only: the id is repeated in headers and logs. 128 characters hold any UUID or trace id with room. */
const usable = /^[\x21-\x7e]{1,128}$/
let count = 0

export function requestId(given: string | undefined): string {
  if (given !== undefined && usable.test(given)) return given
  count += 1
  return prefix + count.toString(36)
}
