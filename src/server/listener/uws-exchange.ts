/** One request and its answer on uWebSockets.js. */
import { BodyGatherer } from './body.js'
import { BaseExchange, type ExchangeOwner } from './exchange.js'
import { asksForClose, LINGER_MS } from './linger.js'
import type { BodyFault, HeaderList } from './listener.js'
import { SEND_BYTES } from './pieces.js'
import { addressText, type UwsHead, writeHead } from './uws-head.js'
import type { UwsResponse } from './uws-module.js'

const ignore = (): void => undefined

/** What `cork` calls works on; a module variable saves a closure per send. `cork` calls back before it returns. */
let corked: UwsExchange | null = null
const sendCorked = (): void => corked?.send()
const finishCorked = (): void => corked?.sendEnd()

export class UwsExchange extends BaseExchange {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly headers: HeaderList
  private address: string | null = null
  private bodyCap = 0
  private bodyTimeoutMs = 0
  private body: BodyGatherer | null = null
  private bodyTimer: NodeJS.Timeout | null = null
  /** The client is too slow to keep: the connection ends with this answer. */
  private lastAnswer = false
  /** The body's last byte is here, or no longer waited for. */
  private hasReceived = false
  private listensToBody = false
  private lingerTimer: NodeJS.Timeout | null = null
  /** A large answer of known length that is on its way. */
  private rest: Uint8Array | null = null

  constructor(
    owner: ExchangeOwner,
    private readonly res: UwsResponse,
    head: UwsHead,
  ) {
    super(owner)
    this.method = head.method
    this.path = head.path
    this.query = head.query
    this.headers = head.headers
  }

  /** Asked for lazily: it costs a system call. */
  get remoteAddress(): string {
    if (this.address === null) this.address = this.closed ? '' : addressText(this.res.getRemoteAddress())
    return this.address
  }

  /** After the handler: uWebSockets.js ends the process if an unanswered request has no abort handler by now. */
  handled(): void {
    if (!this.closed) this.res.onAborted(() => this.lost())
  }

  protected startBody(cap: number, timeoutMs: number): void {
    this.bodyCap = cap
    this.bodyTimeoutMs = timeoutMs
    this.listenToBody()
  }

  private listenToBody(): void {
    this.listensToBody = true
    this.res.onData((chunk, isLast) => this.onData(chunk, isLast))
  }

  /** The chunk's memory is the server's receive buffer: copied here, detached afterwards. */
  private onData(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.received()
    if (this.bodyIsOver) return
    const bytes = new Uint8Array(chunk)
    if (this.body === null) {
      if (isLast && bytes.length <= this.bodyCap) {
        this.deliver(Buffer.from(bytes), null)
        return
      }
      this.body = new BodyGatherer(this.bodyCap)
      this.bodyTimer = setTimeout(() => this.bodyTimedOut(), this.bodyTimeoutMs)
      this.uploads(true)
    }
    if (!this.body.add(bytes)) this.endBody(null, 'too_large')
    else if (isLast) this.endBody(this.body.take(), null)
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
    if (this.bodyTimer === null) return
    clearTimeout(this.bodyTimer)
    this.bodyTimer = null
    this.body = null
    this.uploads(false)
  }

  /** See linger.ts. Not the answer to a body that is too slow: there is next to nothing to read. */
  private lingers(): boolean {
    if (this.lastAnswer || !asksForClose(this.header('connection')) || !this.hasBody) return false
    if (!this.listensToBody) this.listenToBody()
    this.lingerTimer ??= setTimeout(() => this.received(), LINGER_MS)
    return true
  }

  private get hasBody(): boolean {
    return (this.header('content-length') ?? '0') !== '0' || this.header('transfer-encoding') !== undefined
  }

  private received(): void {
    this.hasReceived = true
    if (this.lingerTimer === null) return
    clearTimeout(this.lingerTimer)
    this.lingerTimer = null
    this.finish()
  }

  protected override complete(): void {
    if (this.lingerTimer !== null) clearTimeout(this.lingerTimer)
    this.lingerTimer = null
    this.releaseBody()
    super.complete()
  }

  protected flush(): void {
    do {
      corked = this
      this.res.cork(sendCorked)
    } while (!this.queue.isEmpty && !this.isStalled)
  }

  /** One send; in `cork`. */
  send(): void {
    this.sendHead()
    if (!this.res.write(this.queue.takeShared())) this.stall()
  }

  protected finish(): void {
    if (!this.hasReceived && this.lingers()) return
    if (this.headSent && this.rest === null && this.queue.size > SEND_BYTES) {
      this.flush()
      if (this.isStalled) return
    }
    corked = this
    this.res.cork(finishCorked)
    if (!this.isStalled) this.complete()
  }

  /** The last send; in `cork`. */
  sendEnd(): void {
    if (this.rest !== null) this.sendRest(this.rest)
    else if (this.headSent) this.endChunks()
    else if (this.hasNoBody) this.endWithoutBody()
    else this.endWhole()
  }

  /** No close is asked for: once chunks are out, `end` would write its `Connection: close` line into the body. */
  private endChunks(): void {
    const { res, queue } = this
    let piece = queue.isEmpty ? '' : queue.takeShared()
    while (!queue.isEmpty) {
      res.write(piece)
      piece = queue.takeShared()
    }
    res.end(piece)
  }

  /**
   * The length goes in as a plain header: `endWithoutBody(length)` leaves the answer unfinished in this version, and
   * the process ends for it. Nor is there a way to ask for a close; the idle time-out does it.
   */
  private endWithoutBody(): void {
    const { res } = this
    writeHead(res, this.status, this.answer)
    if (this.headLength >= 0) res.writeHeader('content-length', String(this.headLength))
    res.endWithoutBody()
  }

  private endWhole(): void {
    const whole = this.queue.takeWhole()
    if (typeof whole !== 'string' && whole.length > SEND_BYTES) {
      this.sendHead()
      this.sendRest(whole)
    } else {
      writeHead(this.res, this.status, this.answer)
      this.res.end(whole, this.lastAnswer || this.owner.isDraining)
    }
  }

  /** `tryEnd` takes only what the socket takes, where `end` would copy all the rest into the server's buffer. */
  private sendRest(whole: Uint8Array): void {
    const offset = this.rest === null ? 0 : this.res.getWriteOffset()
    this.rest = whole
    const [, done] = this.res.tryEnd(whole.subarray(offset), whole.length)
    if (!done) this.stall()
  }

  /**
   * Status and headers, if they have not gone; and `onWritable`, from the first send of any answer that may take
   * several: without it, the server cuts a client that was slow once 10 s later, even if it has caught up.
   */
  private sendHead(): void {
    if (this.headSent) return
    this.headSent = true
    writeHead(this.res, this.status, this.answer)
    this.res.onWritable(() => this.writable())
  }

  private writable(): boolean {
    // With a handler registered the server does not send what it has buffered itself; leaving a cork does.
    if (!this.closed && this.queue.isEmpty && !this.ending) this.res.cork(ignore)
    this.drained()
    return true
  }

  protected dropConnection(): void {
    this.res.close()
  }

  /** Pause and resume sets the server's 10 s timer anew: the only door to it while nothing moves. */
  protected keepAlive(): void {
    this.res.pause()
    this.res.resume()
  }
}
