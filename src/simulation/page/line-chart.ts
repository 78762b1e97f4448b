/** Lines over two axes, as SVG text. Colours are classes, so that the page's style sheet can suit light and dark. */
import { escaped } from './format.js'
import type { Scale } from './scale.js'

/** A point, or a gap in the line. */
export type Point = readonly [x: number, y: number] | null

export interface Line {
  readonly name: string
  readonly points: readonly Point[]
}

export interface LineChart {
  /** What screen readers are told. */
  readonly label: string
  readonly x: Scale
  readonly y: Scale
  readonly xTitle: string
  readonly yTitle: string
  readonly xText: (value: number) => string
  readonly yText: (value: number) => string
  readonly lines: readonly Line[]
}

const WIDTH = 760
const HEIGHT = 320
const LEFT = 62
/** Room for half of the last mark's text. */
const RIGHT = 26
const TOP = 12
const BOTTOM = 46
const INNER_WIDTH = WIDTH - LEFT - RIGHT
const INNER_HEIGHT = HEIGHT - TOP - BOTTOM

/** Lines beyond this number repeat a colour, with dashes; those beyond twice as many, with dots. */
export const COLOURS = 8
const STROKES = ['', ' dashed', ' dotted'] as const

/** The classes that give the n-th profile its look, in plots and legends. */
export const lookOf = (at: number): string =>
  `s${at % COLOURS}${STROKES[Math.floor(at / COLOURS) % STROKES.length] ?? ''}`

export function lineChart(chart: LineChart): string {
  const { x, y, xTitle, yTitle, xText, yText, lines, label } = chart
  const xAt = (value: number): number => LEFT + x.place(value) * INNER_WIDTH
  const yAt = (value: number): number => TOP + (1 - y.place(value)) * INNER_HEIGHT
  const bottom = TOP + INNER_HEIGHT
  const grid = [
    ...x.ticks.map(tick => `<path class="grid" d="M${px(xAt(tick))} ${TOP}V${bottom}"/>`),
    ...y.ticks.map(tick => `<path class="grid" d="M${LEFT} ${px(yAt(tick))}H${WIDTH - RIGHT}"/>`),
  ]
  const marks = [
    ...x.ticks.map(tick => text(xAt(tick), bottom + 16, 'middle', xText(tick))),
    ...y.ticks.map(tick => text(LEFT - 6, yAt(tick) + 4, 'end', yText(tick))),
    text(LEFT + INNER_WIDTH / 2, HEIGHT - 8, 'middle', xTitle, 'title'),
    `<text class="title" text-anchor="middle" transform="translate(14 ${TOP + INNER_HEIGHT / 2}) rotate(-90)">${escaped(yTitle)}</text>`,
  ]
  const paths = lines.map(({ name, points }, at) => {
    const title = `<title>${escaped(name)}</title>`
    const dots = lonely(points).map(
      ([x, y]) =>
        `<circle class="dot ${lookOf(at)}" cx="${px(xAt(x))}" cy="${px(yAt(y))}" r="2.5">${title}</circle>`,
    )
    return `<path class="line ${lookOf(at)}" d="${pathOf(points, xAt, yAt)}">${title}</path>${dots.join('')}`
  })
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(label)}">${grid.join('')}${marks.join('')}${paths.join('')}</svg>`
}

/** Points between two gaps, of which a line shows nothing. */
const lonely = (points: readonly Point[]): NonNullable<Point>[] =>
  points.flatMap((point, at) =>
    point !== null && points[at - 1] == null && points[at + 1] == null ? [point] : [],
  )

function pathOf(points: readonly Point[], xAt: (x: number) => number, yAt: (y: number) => number): string {
  let isDrawing = false
  let path = ''
  for (const point of points) {
    if (point === null) isDrawing = false
    else {
      path += `${isDrawing ? 'L' : 'M'}${px(xAt(point[0]))} ${px(yAt(point[1]))}`
      isDrawing = true
    }
  }
  return path
}

const text = (x: number, y: number, anchor: string, content: string, name = 'tick'): string =>
  `<text class="${name}" x="${px(x)}" y="${px(y)}" text-anchor="${anchor}">${escaped(content)}</text>`

/** Tenths of a pixel are finer than eyes. */
const px = (value: number): string => String(Math.round(value * 10) / 10)
