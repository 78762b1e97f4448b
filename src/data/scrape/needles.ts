/** The dialects as bytes to look for: one needle for each metric, with all that is read from its series. */
import { type AdapterNeedle, adapterNeedle } from './adapter-series.js'
import { DIALECTS, type Dialect, VALUE } from './dialects.js'

/** A value that a needle's series hold. */
export interface NeedleUse {
  /** Its place in a core's numbers. */
  readonly place: number
  readonly where: readonly [label: Buffer, value: Buffer] | undefined
  /** Labels that may hold the number, best first; none: the sample is the number. */
  readonly labels: readonly Buffer[]
}

export interface Needle {
  readonly dialect: Dialect
  readonly metric: string
  readonly bytes: Buffer
  readonly core: Buffer
  readonly uses: readonly NeedleUse[]
  /** Whether its uses ask for labels besides the core's. */
  readonly labelled: boolean
  /** Its series name LoRA adapters, and nothing else is read from them. */
  readonly adapters: AdapterNeedle | undefined
}

function compile(dialect: Dialect): Needle[] {
  const metrics = [...new Set(dialect.uses.map(({ metric }) => metric))]
  const numbers = metrics.map(metric => {
    const uses = dialect.uses
      .filter(use => use.metric === metric)
      .map(({ value, where, labels = [] }): NeedleUse => {
        const condition = where && ([Buffer.from(where[0]), Buffer.from(where[1])] as const)
        return { place: VALUE[value], where: condition, labels: labels.map(label => Buffer.from(label)) }
      })
    const labelled = uses.some(({ where, labels }) => where !== undefined || labels.length > 0)
    return needleOf(dialect, metric, uses, labelled)
  })
  // Behind all others: most pages lack it, and what comes next would be looked for from the page's top again.
  return dialect.adapters === undefined
    ? numbers
    : [...numbers, needleOf(dialect, dialect.adapters.metric, [], true, adapterNeedle(dialect.adapters))]
}

const needleOf = (
  dialect: Dialect,
  metric: string,
  uses: readonly NeedleUse[],
  labelled: boolean,
  adapters?: AdapterNeedle,
): Needle => ({
  dialect,
  metric,
  bytes: Buffer.from(metric),
  core: Buffer.from(dialect.core),
  uses,
  labelled,
  adapters,
})

/** All that any engine may be known by. */
export const ALL_NEEDLES: readonly Needle[] = DIALECTS.flatMap(compile)
