/** `--html`: one page that needs nothing but itself, no script either. */
import type { SimulationOptions } from '../options/schema.js'
import type { SimulationResult } from '../virtual/result.js'
import { duration, escaped, percent } from './format.js'
import { heatLegend, heatMap } from './heat-map.js'
import { lineChart, lookOf } from './line-chart.js'
import { linearScale, logScale, spanScale, timeScale } from './scale.js'
import { STYLE } from './style.js'
import { resultTable } from './tables.js'

/** What a page shows, and what `--json` writes. */
export interface Comparison {
  readonly options: SimulationOptions
  /** Name of the workload. */
  readonly workload: string
  readonly results: readonly SimulationResult[]
}

export function renderPage({ options, workload, results }: Comparison): string {
  const title = `${workload}: ${results.map(({ profile }) => profile).join(', ')}`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(title)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(workload)}</h1>
${introduction(options, results)}
<div class="scroll">${resultTable(results)}</div>
<div class="grid2">
<section><h2>Time to first token</h2>${ttftChart(results)}${legend(results)}</section>
<section><h2>Cache-hit rate over time</h2>${hitChart(results)}${legend(results)}</section>
</div>
<h2>Load over time</h2>
${loadMaps(results)}
<p class="note">Simulated in virtual time by <code>phyllo simulate</code>, seed ${options.seed}. What is modelled and what is not: docs/simulate.md.</p>
</body></html>
`
}

function introduction(options: SimulationOptions, results: readonly SimulationResult[]): string {
  const [first] = results
  if (first === undefined) return ''
  const { slo, requests, durationMs } = first
  const events =
    options.eventLag === undefined
      ? 'predicted from what was sent'
      : `known by the engines' events, ${duration(options.eventLag)} late`
  const facts: [string, string][] = [
    ['Requests', `${requests.toLocaleString('en')} in ${duration(durationMs)}`],
    ['Fleet', typeof options.fleet === 'string' ? options.fleet : fleetText(options.fleet)],
    ['Caches', events],
    [
      'SLO',
      `first token within ${duration(slo.ttftMs)}, then a token each ${duration(slo.tpotMs)} on average`,
    ],
  ]
  return `<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${escaped(value)}</dd>`).join('')}</dl>`
}

const fleetText = (fleet: Exclude<SimulationOptions['fleet'], string>): string =>
  fleet.map(group => `${group.class}:${group.count}`).join(', ')

function legend(results: readonly SimulationResult[]): string {
  const keys = results.map(
    ({ profile }, at) => `<span><i class="key ${lookOf(at)}"></i>${escaped(profile)}</span>`,
  )
  return `<p class="legend">${keys.join('')}</p>`
}

function ttftChart(results: readonly SimulationResult[]): string {
  const all = results.flatMap(({ ttftQuantilesMs }) => ttftQuantilesMs).filter(Number.isFinite)
  return lineChart({
    label: 'Part of the requests that had their first token within a time, for each profile',
    x: all.length === 0 ? logScale(1, 1000) : logScale(Math.min(...all), Math.max(...all)),
    y: spanScale(1, 5),
    xTitle: 'time to first token',
    yTitle: 'requests within it',
    xText: duration,
    yText: percent,
    lines: results.map(({ profile, ttftQuantilesMs }) => ({
      name: profile,
      points: ttftQuantilesMs.map((ms, at) => (Number.isFinite(ms) ? ([ms, at / 100] as const) : null)),
    })),
  })
}

function hitChart(results: readonly SimulationResult[]): string {
  const longest = Math.max(...results.map(({ durationMs }) => durationMs), 1)
  const most = Math.max(...results.flatMap(({ series }) => series.hitRate.map(rate => rate ?? 0)), 0.01)
  return lineChart({
    label: 'Part of the prompt tokens found in caches, over the time of the run, for each profile',
    x: timeScale(longest),
    y: linearScale(most),
    xTitle: 'time of arrival',
    yTitle: 'prompt tokens cached',
    xText: duration,
    yText: percent,
    lines: results.map(({ profile, series }) => ({
      name: profile,
      points: series.hitRate.map((rate, at) => (rate === null ? null : [(at + 0.5) * series.stepMs, rate])),
    })),
  })
}

/** Over so many pods and profiles that they are too many for the arguments of one call. */
const mostOf = (rows: readonly (readonly number[])[], least: number): number =>
  rows.reduce((most, row) => Math.max(most, ...row), least)

function loadMaps(results: readonly SimulationResult[]): string {
  const most = results.reduce((all, { series }) => mostOf(series.inflight, all), 0)
  const maps = results.map(
    ({ profile, series, pods }) =>
      `<section><h3>${escaped(profile)}</h3>${heatMap({
        label: `Requests on each pod over the time of the run, with ${profile}`,
        rows: pods.map(({ id }) => id),
        values: series.inflight,
        stepMs: series.stepMs,
        most,
      })}</section>`,
  )
  return `${heatLegend(most)}<div class="grid2">${maps.join('')}</div>`
}
