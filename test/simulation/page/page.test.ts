import test from 'ava'
import fc from 'fast-check'
import { loadOptions } from '#phyllo/simulation/options/load.js'
import { lookOf } from '#phyllo/simulation/page/line-chart.js'
import { renderPage } from '#phyllo/simulation/page/page.js'
import { linearScale, logScale, spanScale, timeScale } from '#phyllo/simulation/page/scale.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { renderResults } from '#phyllo/simulation/virtual/table.js'
import { profileNamed, scenario } from '../virtual/kit.js'

const results = await Promise.all(
  ['cache-aware', 'round-robin'].map(name => simulate(scenario({ profile: profileNamed(name) }))),
)
const options = loadOptions(undefined, [])

test('one page with all profiles and plots, and nothing from elsewhere', t => {
  const html = renderPage({ options, workload: 'a <b> & "c"', results })
  for (const { profile } of results) t.true(html.includes(profile))
  t.is(html.match(/<svg/g)?.length, 4, 'TTFT, hit rate, and a map for each profile')
  t.notRegex(html, /<script|<link|<img|@import|url\(|src=|href=/)
  t.notRegex(html, /NaN|undefined|Infinity/)
  t.true(html.includes('a &#60;b&#62; &#38; &#34;c&#34;'))
  t.false(html.includes('<b>'))
  t.regex(html, /prefers-color-scheme:dark/)
})

test('every element that is opened is closed, in order', t => {
  const html = renderPage({ options, workload: 'w', results })
  const open: string[] = []
  for (const [, slash, name = '', rest = ''] of html.matchAll(/<(\/?)([a-zA-Z0-9]+)([^>]*)>/g)) {
    if (['meta', 'br'].includes(name) || rest.endsWith('/')) continue
    if (slash === '') open.push(name)
    else t.is(open.pop(), name)
  }
  t.deepEqual(open, [])
})

test('the table has a row for each profile', t => {
  const lines = renderResults(results).split('\n')
  for (const { profile } of results) t.is(lines.filter(line => line.includes(profile)).length, 1)
})

test('a run in which nothing was answered still makes a page and a table', async t => {
  const none = await simulate(scenario({ fleet: [tooSmall()] }))
  t.is(none.completed, 0)
  t.notRegex(renderPage({ options, workload: 'w', results: [none] }), /NaN|undefined|Infinity/)
  t.notRegex(renderResults([none]), /NaN|undefined|Infinity/)
})

function tooSmall() {
  const [group] = scenario().fleet
  if (group === undefined) throw new Error('a scenario has a fleet')
  return { ...group, parameters: { ...group.parameters, blocks: 2 } }
}

test('scales hold what they are given, and mark ascending round numbers', t => {
  fc.assert(
    fc.property(
      fc.double({ min: 1e-6, max: 1e9, noNaN: true }),
      fc.double({ min: 1, max: 1e6, noNaN: true }),
      (value, factor) => {
        const scales = [
          linearScale(value),
          spanScale(value),
          timeScale(value),
          logScale(Math.max(value, 1e-3), Math.max(value, 1e-3) * factor),
        ]
        return scales.every(({ place, ticks }) => {
          const places = ticks.map(place)
          const isAscending = places.every((at, i) => i === 0 || at > (places[i - 1] ?? 0))
          return (
            isAscending &&
            ticks.length >= 2 &&
            ticks.length <= 14 &&
            place(value) > 0 - 1e-9 &&
            place(value) <= 1
          )
        })
      },
    ),
  )
  t.pass()
})

test('1,024 pods under two profiles: the page was given up for too many arguments, after the whole run', t => {
  const [one] = results
  if (one === undefined) throw new Error('a run has a result')
  const [pod] = one.pods
  const [row = []] = one.series.inflight
  if (pod === undefined) throw new Error('a fleet has a pod')
  const large = {
    ...one,
    pods: Array.from({ length: 1024 }, () => pod),
    series: { ...one.series, inflight: Array.from({ length: 1024 }, () => row) },
  }
  t.true(renderPage({ options, workload: 'w', results: [large, large] }).endsWith('</html>\n'))
})

test('a hit rate between two parts without arrivals was not to be seen: lines need two points', t => {
  const [one] = results
  if (one === undefined) throw new Error('a run has a result')
  const hitRate = [0.5, null, 0.25, null, 0.1, 0.2]
  const html = renderPage({
    options,
    workload: 'w',
    results: [{ ...one, series: { ...one.series, hitRate } }],
  })
  t.is(html.match(/<circle/g)?.length, 2)
  t.regex(html, /M[\d.]+ [\d.]+L[\d.]+ [\d.]+"/, 'the last two are a line')
})

test('with 18 profiles, the 17th looked like the 9th', t => {
  const looks = Array.from({ length: 24 }, (_, at) => lookOf(at))
  t.is(new Set(looks).size, 24)
})
