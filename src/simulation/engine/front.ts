/** The engine's own port: opened, closed and opened again, so that tests can have connections refused. */
import type { Handler, Listener, ListenerFactory } from '../../server/listener/listener.js'

const MAX_HEADER_BYTES = 64 * 1024
/** So that the answer to the request that asked for it gets out. */
const GRACE_MS = 20

export class Front {
  /** The port taken; 0 before `listen`. */
  port = 0
  private listener: Listener | null = null
  private timer: NodeJS.Timeout | null = null

  constructor(
    private readonly options: { readonly host: string; readonly port: number },
    private readonly factory: ListenerFactory,
    private readonly handler: Handler,
  ) {}

  /** Listens, on the same port as before if there was one. Rejects if it is taken. */
  async listen(): Promise<void> {
    if (this.listener !== null) return
    const { host, port } = this.options
    const where = {
      host,
      port: this.port === 0 ? port : this.port,
      shared: false,
      maxHeaderBytes: MAX_HEADER_BYTES,
    }
    const listener = this.factory.create(where, this.handler)
    this.port = await listener.listen()
    this.listener = listener
  }

  /** Ends all connections; new ones are refused. */
  async close(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer)
    const { listener } = this
    this.listener = null
    await listener?.close()
  }

  /** Refuses connections for so many milliseconds. */
  closeFor(ms: number): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      void this.close()
      // If somebody has taken the port meanwhile, it stays closed: that is what was asked for, only longer.
      this.timer = setTimeout(() => void this.listen().catch(() => undefined), ms)
    }, GRACE_MS)
  }
}
