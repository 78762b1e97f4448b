/**
 * Load over time with a row for each pod: with lines, eight pods are a tangle and 64 a wall. The darker, the more
 * requests; all maps of a page share one scale, so that profiles can be compared by eye. It is that of square roots: one
 * pod that holds 60 requests must not make those with one or two look empty.
 */
import { duration, escaped, short } from './format.js'
import { timeScale } from './scale.js'

export interface HeatMap {
  readonly label: string
  readonly rows: readonly string[]
  /** By row, then by time. */
  readonly values: readonly (readonly number[])[]
  /** Time of a column, ms. */
  readonly stepMs: number
  /** The value of the full colour. */
  readonly most: number
}

const WIDTH = 760
const LEFT = 92
/** Room for half of the last mark's text. */
const RIGHT = 26
const BOTTOM = 30
/** Room for the first name where rows are lower than texts. */
const TOP = 5
const INNER_WIDTH = WIDTH - LEFT - RIGHT
/** A map is about as high as a chart, whatever the fleet: rows are 4 to 22 high. */
const WANTED_HEIGHT = 280
/** Below that height rows have no room for a name each. */
const TEXT_HEIGHT = 12

export function heatMap({ label, rows, values, stepMs, most }: HeatMap): string {
  const rowHeight = Math.min(22, Math.max(4, WANTED_HEIGHT / rows.length))
  const columns = values[0]?.length ?? 0
  const columnWidth = INNER_WIDTH / Math.max(1, columns)
  const height = rows.length * rowHeight
  const every = Math.ceil(TEXT_HEIGHT / rowHeight)
  const cells = values.flatMap((row, at) =>
    row.flatMap((value, column) => {
      // Empty cells are most of a quiet fleet, and the ground shows them.
      const strength = Math.round(100 * Math.sqrt(value / Math.max(most, 1e-9))) / 100
      if (strength === 0) return []
      const [x, y] = [LEFT + column * columnWidth, at * rowHeight].map(px)
      return [
        `<rect x="${x}" y="${y}" width="${px(columnWidth + 0.3)}" height="${px(rowHeight - 0.5)}" opacity="${strength}"/>`,
      ]
    }),
  )
  const names = rows.flatMap((name, at) =>
    at % every === 0
      ? [
          `<text class="tick" x="${LEFT - 6}" y="${px((at + 0.5) * rowHeight + 4)}" text-anchor="end">${escaped(name)}</text>`,
        ]
      : [],
  )
  const time = timeScale(columns * stepMs)
  const marks = time.ticks.map(
    tick =>
      `<text class="tick" x="${px(LEFT + time.place(tick) * INNER_WIDTH)}" y="${px(height + 18)}" text-anchor="middle">${duration(tick)}</text>`,
  )
  return (
    `<svg viewBox="0 ${-TOP} ${WIDTH} ${px(TOP + height + BOTTOM)}" role="img" aria-label="${escaped(label)}">` +
    `<rect class="ground" x="${LEFT}" y="0" width="${INNER_WIDTH}" height="${px(height)}"/>` +
    `<g class="heat">${cells.join('')}</g>${names.join('')}${marks.join('')}</svg>`
  )
}

/** What the colours mean. */
export const heatLegend = (most: number): string =>
  `<p class="note">Requests on a pod, waiting or running: from none <span class="ramp"></span> to ${short(most)}; ${short(most / 4)} is half the colour.</p>`

const px = (value: number): string => String(Math.round(value * 10) / 10)
