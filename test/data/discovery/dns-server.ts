/** A small DNS server for tests (RFC 1035, SRV by RFC 2782), over UDP and TCP on one port, that does as it is told. */
import { createSocket } from 'node:dgram'
import { createServer, isIPv4, type Server } from 'node:net'
import type { ExecutionContext } from 'ava'
import { freePort } from '../../free-port.js'

export type DnsRecord =
  | { readonly type: 'A' | 'AAAA'; readonly address: string; readonly ttl: number }
  | { readonly type: 'SRV'; readonly target: string; readonly port: number; readonly ttl: number }

export type Behaviour =
  | { readonly kind: 'records'; readonly records: readonly DnsRecord[] }
  /** NOERROR without a record, or another result code. */
  | { readonly kind: 'empty' | 'nxdomain' | 'servfail' | 'refused' }
  | { readonly kind: 'silent' | 'garbage' }
  /** Over UDP nothing but the flag that says to come over TCP, where the records are. */
  | { readonly kind: 'truncated'; readonly records: readonly DnsRecord[]; readonly tcp: boolean }

export interface DnsServer {
  /** `ip:port`, as `setServers` takes it. */
  readonly address: string
  /** What is done with the next question, and all that follow. */
  behaviour: Behaviour
  /** Names and types that were asked for, in lower case. */
  readonly questions: string[]
  readonly overTcp: () => number
}

const TYPES = { A: 1, AAAA: 28, SRV: 33 } as const
const RCODES = { empty: 0, nxdomain: 3, servfail: 2, refused: 5 } as const

export async function dnsServerFor(t: ExecutionContext): Promise<DnsServer> {
  let tcpQuestions = 0
  const questions: string[] = []
  const udp = createSocket('udp4')
  const answer = (query: Buffer, isTcp: boolean): Buffer | undefined => {
    const question = readQuestion(query)
    questions.push(`${question.type} ${question.name}`)
    if (isTcp) tcpQuestions += 1
    return answerTo(query, question, server.behaviour, isTcp)
  }
  udp.on('message', (query, from) => {
    const reply = answer(query, false)
    if (reply !== undefined) udp.send(reply, from.port, from.address)
  })
  const tcp = createServer(socket => {
    let data = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (piece: Buffer) => {
      data = Buffer.concat([data, piece])
      if (data.length < 2 || data.length < 2 + data.readUInt16BE(0)) return
      const reply = answer(data.subarray(2), true)
      if (reply === undefined) socket.destroy()
      else socket.end(Buffer.concat([u16(reply.length), reply]))
    })
  })
  const port = await bindBoth(udp, tcp)
  t.teardown(() => {
    udp.close()
    tcp.close()
  })
  const server: DnsServer = {
    address: `127.0.0.1:${port}`,
    behaviour: { kind: 'empty' },
    questions,
    overTcp: () => tcpQuestions,
  }
  return server
}

/** One port for both, which no resolver's question is sent from meanwhile. */
async function bindBoth(udp: ReturnType<typeof createSocket>, tcp: Server): Promise<number> {
  const port = await freePort()
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', reject)
    tcp.listen(port, '127.0.0.1', resolve)
  })
  await new Promise<void>((resolve, reject) => {
    udp.once('error', reject)
    udp.bind(port, '127.0.0.1', resolve)
  })
  return port
}

interface Question {
  readonly name: string
  readonly type: string
  /** Where it ends in the query. */
  readonly end: number
}

function readQuestion(query: Buffer): Question {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  const code = query.readUInt16BE(at + 1)
  const type = Object.entries(TYPES).find(([, each]) => each === code)?.[0] ?? String(code)
  return { name: labels.join('.').toLowerCase(), type, end: at + 5 }
}

function answerTo(query: Buffer, question: Question, does: Behaviour, isTcp: boolean): Buffer | undefined {
  switch (does.kind) {
    case 'silent':
      return undefined
    case 'garbage':
      // The right id and question, and then nothing that could be a record.
      return Buffer.concat([message(query, question, 0, [], false, 1), Buffer.from([0xc0, 0x0c, 0x00])])
    case 'records':
      return message(query, question, 0, does.records)
    case 'truncated':
      if (isTcp) return does.tcp ? message(query, question, 0, does.records) : undefined
      return message(query, question, 0, does.records.slice(0, 1), true)
    default:
      return message(query, question, RCODES[does.kind], [])
  }
}

function message(
  query: Buffer,
  question: Question,
  rcode: number,
  records: readonly DnsRecord[],
  truncated = false,
  count = records.length,
): Buffer {
  const flags = 0x8400 | (truncated ? 0x0200 : 0) | (query.readUInt16BE(2) & 0x0100) | 0x0080 | rcode
  const head = Buffer.concat([query.subarray(0, 2), u16(flags), u16(1), u16(count), u16(0), u16(0)])
  return Buffer.concat([head, query.subarray(12, question.end), ...records.map(recordBytes)])
}

function recordBytes(record: DnsRecord): Buffer {
  const data = dataBytes(record)
  const ttl = Buffer.alloc(4)
  ttl.writeUInt32BE(record.ttl)
  // The name is the question's, by a pointer to it.
  return Buffer.concat([u16(0xc00c), u16(TYPES[record.type]), u16(1), ttl, u16(data.length), data])
}

function dataBytes(record: DnsRecord): Buffer {
  if (record.type === 'SRV')
    return Buffer.concat([u16(0), u16(1), u16(record.port), nameBytes(record.target)])
  if (isIPv4(record.address)) return Buffer.from(record.address.split('.').map(Number))
  const [head = '', tail = ''] = record.address.split('::')
  const groups = (text: string) => text.split(':').filter(group => group !== '')
  const missing = 8 - groups(head).length - groups(tail).length
  const all = [...groups(head), ...Array.from({ length: missing }, () => '0'), ...groups(tail)]
  return Buffer.concat(all.map(group => u16(Number.parseInt(group, 16))))
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').filter(label => label !== '')
  const parts = labels.map(label =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]),
  )
  return Buffer.concat([...parts, Buffer.from([0])])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
