/** Histograms whose buckets are counted elsewhere, in the workers' shared rows. */
import { Histogram, type Registry } from 'prom-client'

/** The counts of a series. */
export interface SeriesCounts {
  /** By bound, cumulative. */
  readonly buckets: readonly number[]
  readonly count: number
  readonly sum: number
}

/** `[label's value, counts]`; an empty value: there is but one series, without a label. */
export type HistogramSeries = readonly [value: string, counts: SeriesCounts]

/**
 * prom-client has no way to set a histogram's buckets from outside, so this one hands over its own. It does so where
 * prom-client 15 reads them, both for the page and for `get`: a method that its types do not tell of.
 */
export class SummedHistogram extends Histogram {
  constructor(
    private readonly metricName: string,
    private readonly helpText: string,
    private readonly bounds: readonly number[],
    private readonly read: () => readonly HistogramSeries[],
    registry: Registry,
    private readonly label = '',
  ) {
    super({ name: metricName, help: helpText, buckets: [...bounds], registers: [registry] })
  }

  async getForPromString() {
    const { metricName: name, helpText: help } = this
    return {
      name,
      help,
      type: 'histogram',
      values: this.read().flatMap(each => this.#lines(each)),
      aggregator: 'sum',
    }
  }

  #lines([value, { buckets, count, sum }]: HistogramSeries) {
    const { metricName } = this
    const labels: Record<string, string | number> = value === '' ? {} : { [this.label]: value }
    const line = (suffix: string, more: Record<string, string | number>, number: number) => ({
      metricName: `${metricName}_${suffix}`,
      labels: { ...more, ...labels },
      sharedLabels: {},
      value: number,
    })
    return [
      ...this.bounds.map((le, i) => line('bucket', { le }, buckets[i] ?? 0)),
      line('bucket', { le: '+Inf' }, count),
      line('sum', {}, sum),
      line('count', {}, count),
    ]
  }
}
