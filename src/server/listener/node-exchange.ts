/** One request and its answer on node:http. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BodyGatherer } from './body.js'
import { BaseExchange, type ExchangeOwner, STALL_LIMIT_MS } from './exchange.js'
import { answerHeaders } from './headers.js'
import { asksForClose, LINGER_MS } from './linger.js'
import type { BodyFault, HeaderList } from './listener.js'
import { SEND_BYTES } from './pieces.js'

const MAPPED_IPV4 = /^::ffff:(?=\d+\.)/
/** The `close` event tells all there is to know; but an `error` event without a listener ends the process. */
const ignore = (): void => undefined

export class NodeExchange extends BaseExchange {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: HeaderList
  private bodyTimer: NodeJS.Timeout | null = null
  private lastAnswer = false
  private lingerTimer: NodeJS.Timeout | null = null
  private hasLingered = false

  constructor(
    owner: ExchangeOwner,
    private readonly req: IncomingMessage,
    private readonly res: ServerResponse,
  ) {
    super(owner)
    const target = req.url ?? ''
    const mark = target.indexOf('?')
    this.method = req.method ?? ''
    this.path = mark < 0 ? target : target.slice(0, mark)
    this.query = mark < 0 ? '' : target.slice(mark + 1)
    this.headers = lowerCaseNames(req.rawHeaders)
    req.on('error', ignore)
    res.on('error', ignore)
    res.on('close', () => this.left())
  }

  get remoteAddress(): string {
    return (this.req.socket.remoteAddress ?? '').replace(MAPPED_IPV4, '')
  }

  /** The connection is to end with this answer. */
  endConnection(): void {
    this.lastAnswer = true
  }

  protected startBody(cap: number, timeoutMs: number): void {
    const body = new BodyGatherer(cap)
    this.bodyTimer = setTimeout(() => this.bodyTimedOut(), timeoutMs)
    this.req.on('data', (chunk: Buffer) => {
      if (!this.bodyIsOver && !body.add(chunk)) this.endBody(null, 'too_large')
    })
    this.req.on('end', () => this.endBody(body.take(), null))
  }

  private bodyTimedOut(): void {
    this.lastAnswer = true
    this.endBody(null, 'timeout')
  }

  private endBody(body: Buffer | null, fault: BodyFault | null): void {
    this.releaseBody()
    this.deliver(body, fault)
  }

  private releaseBody(): void {
    if (this.bodyTimer !== null) clearTimeout(this.bodyTimer)
    this.bodyTimer = null
  }

  /** Bytes, never strings: Node joins a string to the head and sends both as UTF-8, which mangles Latin-1 headers. */
  protected flush(): void {
    if (!this.headSent) this.writeHead(answerHeaders(this.answer))
    if (!this.res.write(this.queue.takeAll())) {
      this.stall()
      this.res.once('drain', () => this.drained())
    }
  }

  protected finish(): void {
    if (!this.req.complete && this.waitsForBody()) return
    const { res } = this
    const whole = this.queue.takeAll()
    if (!this.headSent) {
      const headers = answerHeaders(this.answer)
      const length = this.hasNoBody ? this.headLength : whole.length
      if (length >= 0) headers.push('content-length', String(length))
      this.writeHead(headers)
    }
    if (whole.length > 0) res.end(whole)
    else res.end()
    // The tail is Node's to send; a client that takes none of it must not keep it for ever.
    if (res.writableLength > SEND_BYTES) this.req.socket.setTimeout(STALL_LIMIT_MS)
    if (!this.req.complete) this.linger()
    this.complete()
  }

  private writeHead(headers: string[]): void {
    if (this.lastAnswer || this.owner.isDraining) headers.push('connection', 'close')
    this.res.writeHead(this.status, headers)
    this.headSent = true
  }

  /** See linger.ts. Not the answer to a body that is too slow or badly framed: what comes is not waited for. */
  private waitsForBody(): boolean {
    if (this.hasLingered || this.lastAnswer || !asksForClose(this.header('connection'))) return false
    if (this.lingerTimer === null) {
      this.lingerTimer = setTimeout(() => this.received(), LINGER_MS)
      this.req.once('end', () => this.received())
      this.req.resume()
    }
    return true
  }

  private received(): void {
    this.hasLingered = true
    if (this.lingerTimer === null) return
    clearTimeout(this.lingerTimer)
    this.lingerTimer = null
    this.finish()
  }

  private linger(): void {
    const { req } = this
    req.resume()
    const timer = setTimeout(() => {
      if (!req.complete) req.socket.destroy()
    }, LINGER_MS)
    timer.unref()
  }

  protected override complete(): void {
    if (this.lingerTimer !== null) clearTimeout(this.lingerTimer)
    this.lingerTimer = null
    this.releaseBody()
    super.complete()
  }

  /** In flight until Node has let go of the answer's last byte (`left`), so that a drain loses none. */
  protected override leave(): void {}

  private left(): void {
    this.lost()
    this.owner.finished()
    // A stream that began before the drain had promised to keep the connection.
    if (this.owner.isDraining) this.req.socket.destroySoon()
  }

  protected dropConnection(): void {
    this.req.socket.destroy()
  }

  protected keepAlive(): void {}
}

function lowerCaseNames(raw: readonly string[]): string[] {
  const out = raw.slice()
  for (let i = 0; i < out.length; i += 2) out[i] = (out[i] ?? '').toLowerCase()
  return out
}
