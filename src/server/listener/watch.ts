/** What the listeners of both adapters count and watch. */
import type { BaseExchange, ExchangeOwner } from './exchange.js'

/** uWebSockets.js fires its 10 s time-out 8 to 12 s after it was set; 4 s leaves one miss. */
const REFRESH_MS = 4_000

/** Counts exchanges, reports handlers' errors, and refreshes exchanges that must not time out. */
export class ExchangeWatch implements ExchangeOwner {
  inFlight = 0
  isDraining = false
  private readonly watched = new Set<BaseExchange>()
  private timer: NodeJS.Timeout | null = null

  /** @param onError hears what handlers throw */
  constructor(private readonly onError: (error: unknown) => void) {}

  started(): void {
    this.inFlight += 1
  }

  finished(): void {
    this.inFlight -= 1
  }

  failed(error: unknown): void {
    this.onError(error)
  }

  watch(exchange: BaseExchange): void {
    this.watched.add(exchange)
    this.timer ??= setInterval(() => this.refresh(), REFRESH_MS).unref()
  }

  unwatch(exchange: BaseExchange): void {
    if (this.timer === null || !this.watched.delete(exchange)) return
    if (this.watched.size > 0) return
    clearInterval(this.timer)
    this.timer = null
  }

  private refresh(): void {
    const now = performance.now()
    for (const exchange of this.watched) exchange.refresh(now)
  }
}
