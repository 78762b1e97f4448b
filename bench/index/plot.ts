/** The query table as a picture: a panel a scenario, a line a cell, a mark a subject, on a logarithmic axis. */
import { type Cell, type Scenario, scenarios } from './cells.js'
import { metric, number, type Results, type Subject, shortName, subject } from './results.js'

/** Shapes as well as colours tell subjects apart. Paths around 0,0. */
const marks: readonly { readonly of: Subject; readonly css: string; readonly path: string }[] = [
  { of: subject.ts, css: 'ts', path: 'M-4-4L4 4M4-4L-4 4' },
  { of: subject.radix, css: 'radix', path: 'M0-5L5 0L0 5L-5 0Z' },
  { of: subject.jump, css: 'jump', path: 'M0-5L5 4H-5Z' },
  { of: subject.binary, css: 'binary', path: 'M0 5L5-4H-5Z' },
  { of: subject.compressed, css: 'compressed', path: 'M-4-4H4V4H-4Z' },
  { of: subject.phyllo, css: 'phyllo', path: 'M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z' },
]

/** The picture brings its own background, so it is readable wherever the two disagree about what is dark. */
const style = `
.paper{fill:#fff}.panel{fill:#f6f8fa}text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}
.soft{fill:#59636e}.grid{stroke:#d1d9e0}.gap{stroke:#59636e;stroke-width:1.5}.end{text-anchor:end}.mid{text-anchor:middle}
.ts{stroke:#9a6700;stroke-width:2;fill:none}.radix{fill:#6e7781}.jump{fill:#8250df}.binary{fill:#0969da}
.compressed{fill:#bc4c00}.phyllo{fill:#1a7f37}
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.panel{fill:#151b23}text{fill:#f0f6fc}.soft{fill:#9198a1}
.grid{stroke:#3d444d}.gap{stroke:#9198a1}.ts{stroke:#d29922}.radix{fill:#9198a1}.jump{fill:#ab7df8}.binary{fill:#4493f8}
.compressed{fill:#f0883e}.phyllo{fill:#3fb950}}`

const WIDTH = 1000
const PANEL = 484
const LABELS = 112
const RATIOS = 58
const LINE = 21
const HEAD = 64

/** A place on the axis in pixels for nanoseconds. */
interface Axis {
  readonly at: (ns: number) => number
  readonly ticks: readonly number[]
}

function axis(values: readonly number[]): Axis {
  const [low, high] = [Math.log10(Math.min(...values) / 1.3), Math.log10(Math.max(...values) * 1.3)]
  const at = (ns: number) => LABELS + ((Math.log10(ns) - low) / (high - low)) * (PANEL - LABELS - RATIOS)
  const decades = Array.from({ length: 8 }, (_, i) => 10 ** i)
  return { at, ticks: decades.filter(ns => Math.log10(ns) >= low && Math.log10(ns) <= high) }
}

const time = (ns: number): string => (ns < 1000 ? `${ns} ns` : `${number(ns / 1000)} µs`)

const mark = (css: string, path: string, x: number, y: number, title = ''): string =>
  `<path class="${css}" transform="translate(${x.toFixed(1)} ${y.toFixed(1)})" d="${path}"><title>${title}</title></path>`

function line(results: Results, cell: Cell, { at }: Axis, y: number): string {
  const median = (of: Subject) => results.row('queries', cell, of, metric.query)?.med
  const ours = median(subject.phyllo)
  const best = results.bestPeer('queries', cell, metric.query)?.med
  const gap =
    ours === undefined || best === undefined
      ? ''
      : `<path class="gap" d="M${at(ours).toFixed(1)} ${y}H${at(best).toFixed(1)}"/>` +
        `<text class="end" x="${PANEL - 8}" y="${y + 4}">× ${number(best / ours)}</text>`
  const shapes = marks.map(({ of, css, path }) => {
    const ns = median(of)
    return ns === undefined ? '' : mark(css, path, at(ns), y, `${shortName[of]}: ${number(ns)} ns`)
  })
  return `<text x="10" y="${y + 4}">W=${cell.pods} D=${cell.depth}</text>${gap}${shapes.join('')}`
}

function panel(results: Results, scenario: Scenario, cells: readonly Cell[], scale: Axis): string {
  const bottom = 30 + cells.length * LINE
  const ticks = scale.ticks.map(ns => {
    const x = scale.at(ns).toFixed(1)
    return `<path class="grid" d="M${x} 30V${bottom}"/><text class="soft mid" x="${x}" y="${bottom + 16}">${time(ns)}</text>`
  })
  const lines = cells.map((cell, i) => line(results, cell, scale, 30 + LINE / 2 + i * LINE))
  return [
    `<rect class="panel" width="${PANEL}" height="${bottom + 26}" rx="6"/><text class="title" x="10" y="20">${scenario}</text>`,
    `<text class="soft end" x="${PANEL - 8}" y="20">best peer / phyllo</text>${ticks.join('')}${lines.join('')}`,
  ].join('')
}

function legend(): string {
  let x = 16
  const items = [...marks].reverse().map(({ of, css, path }) => {
    const item = `${mark(css, path, x, 48)}<text x="${x + 12}" y="52">${shortName[of]}</text>`
    // Some 7 pixels a letter.
    x += 40 + shortName[of].length * 7
    return item
  })
  return `<text class="title" x="10" y="24">CPU time of a query, median (W pods, D blocks; further left is faster)</text>${items.join('')}`
}

export function plot(results: Results): string {
  const all = results.cells('queries')
  const values = all.flatMap(cell =>
    marks.flatMap(({ of }) => results.row('queries', cell, of, metric.query)?.med ?? []),
  )
  const scale = axis(values)
  const panels = scenarios
    .map(scenario => ({ scenario, cells: all.filter(cell => cell.scenario === scenario) }))
    .filter(({ cells }) => cells.length > 0)
  const height = Math.max(...panels.map(({ cells }) => cells.length)) * LINE + 30 + 26
  const placed = panels.map(({ scenario, cells }, i) => {
    const [x, y] = [10 + (i % 2) * (PANEL + 12), HEAD + Math.floor(i / 2) * (height + 12)]
    return `<g transform="translate(${x} ${y})">${panel(results, scenario, cells, scale)}</g>`
  })
  const total = HEAD + Math.ceil(panels.length / 2) * (height + 12)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" role="img" aria-label="CPU time of index queries">`,
    `<style>${style}</style><rect class="paper" width="${WIDTH}" height="${total}"/>${legend()}${placed.join('\n')}</svg>\n`,
  ].join('\n')
}
