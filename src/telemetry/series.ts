/** Metrics with a series for each pod, or for each of other things that come and go: all read anew at each look. */
import { Counter, Gauge, type Registry } from 'prom-client'

/** `[name, help, value]`; a thing whose value is undefined has no series. */
export type Metric<T> = readonly [name: string, help: string, value: (row: T) => number | undefined]

export class Series<T> {
  constructor(
    private readonly registry: Registry,
    private readonly label: string,
    private readonly rows: () => readonly T[],
    /** The label's value. */
    private readonly nameOf: (row: T) => string,
  ) {}

  gauges(...metrics: readonly Metric<T>[]): void {
    for (const metric of metrics) {
      const values = () => this.#values(metric)
      new Gauge({
        ...this.#options(metric),
        collect() {
          this.reset()
          for (const [labels, value] of values()) this.set(labels, value)
        },
      })
    }
  }

  /** The values are counts up to now. */
  counters(...metrics: readonly Metric<T>[]): void {
    for (const metric of metrics) {
      const values = () => this.#values(metric)
      new Counter({
        ...this.#options(metric),
        collect() {
          this.reset()
          for (const [labels, value] of values()) this.inc(labels, value)
        },
      })
    }
  }

  #options([name, help]: Metric<T>) {
    return { name, help, labelNames: [this.label], registers: [this.registry] }
  }

  #values([, , of]: Metric<T>): [labels: Record<string, string>, value: number][] {
    return this.rows().flatMap(row => {
      const value = of(row)
      return value === undefined ? [] : [[{ [this.label]: this.nameOf(row) }, value]]
    })
  }
}
