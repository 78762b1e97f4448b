/** Heads of requests and answers on uWebSockets.js. */
import { STATUS_CODES } from 'node:http'
import { SocketAddress } from 'node:net'
import type { PhylloError } from '../../errors.js'
import { errorHeaders } from '../../execution/error-answer.js'
import { cleanValue, isPlain, mayAnswer } from './headers.js'
import type { HeaderList } from './listener.js'
import type { UwsRequest, UwsResponse } from './uws-module.js'

/** A request's line and headers, copied: uWebSockets.js' request is dead once the handler returned. */
export interface UwsHead {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: string[]
  /** Size of the header section, as node:http counts it: names, values, `: ` and line ends. */
  readonly bytes: number
}

/** Where `gather` puts what `forEach` calls it with; module variables save a closure per request. */
let gathered: string[] = []
let gatheredBytes = 0

function gather(name: string, value: string): void {
  gathered.push(name, value)
  gatheredBytes += name.length + value.length + 4
}

export function readHead(req: UwsRequest): UwsHead {
  const path = req.getUrl()
  const query = req.getQuery() ?? ''
  gathered = []
  gatheredBytes = path.length + query.length
  req.forEach(gather)
  return { method: req.getCaseSensitiveMethod(), path, query, headers: gathered, bytes: gatheredBytes }
}

const statusLines = new Map(
  Object.entries(STATUS_CODES).map(([status, reason]) => [Number(status), `${status} ${reason}`]),
)
const statusLine = (status: number): string => statusLines.get(status) ?? `${status} Unknown`

/** The cork buffer of uWebSockets.js, in bytes. */
const CORK_BYTES = 16 * 1024

/**
 * Refuses a request and ends its connection before the next byte is parsed. The parser goes on with what follows in
 * the same read, which after bad framing may be a smuggled request; only a socket that is closed stops it. `end` with
 * close does so at once if nothing is corked, and a body larger than the cork buffer undoes the cork: hence the blanks.
 */
export function refuse(res: UwsResponse, error: PhylloError): void {
  res.onAborted(ignore)
  res.cork(() => {
    writeHead(res, error.kind.status, errorHeaders(error, {}))
    // As bytes: the server for Node 24 sends some strings as Latin-1.
    res.end(Buffer.from(error.toBody() + ' '.repeat(CORK_BYTES)), true)
  })
}

const ignore = (): void => undefined

/** The name and the beginning of the value with which every header block starts; see `uws.ts` on keep-alive. */
const FIRST_NAME = 'keep-alive'
const FIRST_VALUE = 'timeout=7'

/** Status line and headers, in two calls: `writeHeader` copies values as they are, so one value carries all lines. */
export function writeHead(res: UwsResponse, status: number, headers: HeaderList): void {
  let lines = FIRST_VALUE
  let plain = true
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!mayAnswer(name)) continue
    let value = headers[i + 1] ?? ''
    if (!isPlain(value)) {
      value = cleanValue(value)
      plain = false
    }
    lines += `\r\n${name}: ${value}`
  }
  res.writeStatus(statusLine(status))
  res.writeHeader(FIRST_NAME, plain ? lines : Buffer.from(lines, 'latin1'))
}

const MAPPED_IPV4 = /^::ffff:(?=\d+\.)/

/** The text form of 4 or 16 address bytes; IPv4 in IPv6 as IPv4. */
export function addressText(binary: ArrayBuffer): string {
  const bytes = new Uint8Array(binary)
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return ''
  const view = new DataView(binary)
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address.replace(MAPPED_IPV4, '')
}
