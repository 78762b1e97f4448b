/** A decision as a table: a row a pod, best first; those that were dropped come last, with the reason. */
import Table from 'cli-table3'
import type { ExplainedSelection, Explanation } from './explanation.js'

export function explanationText(explained: Explanation): string {
  const { profile, model, prepare, keys, ways, selections, timings } = explained
  const { tokens, exact, blocks, blockSize, shape } = prepare.prompt
  const prompt =
    shape === '' && tokens === 0
      ? 'not looked at by this profile'
      : `${tokens} tokens (${exact ? "the model's own" : 'estimated'}), ${blocks} blocks of ${blockSize}, ${shape}`
  return [
    `profile   ${profile}`,
    `model     ${model}`,
    `prompt    ${prompt}`,
    ...(keys === null ? [] : [`session   ${keys.session ?? 'none'}`, `affinity  ${keys.affinity}`]),
    ...ways.map(({ workflow, why }) => `way       ${workflow}: ${why}`),
    ...selections.flatMap(selection => ['', ...stepLine(selection), selectionText(selection)]),
    '',
    `times     ${Object.entries(timings)
      .map(([stage, micros]) => `${stage} ${micros} µs`)
      .join(', ')}`,
  ].join('\n')
}

const stepLine = ({ step, profile }: ExplainedSelection): string[] =>
  step === undefined ? [] : [`step      ${step}, by profile ${profile}`]

function selectionText(selection: ExplainedSelection): string {
  const { pods, scores, ranking, outcome, bound, pick, sessionPod } = selection
  const head = [
    'pod',
    'requests',
    'queued tokens',
    'active tokens',
    'kv use',
    'cached tokens',
    'known by',
    ...scores.map(({ plugin, weight }) => `${plugin} × ${weight}`),
    'total',
    'result',
  ]
  const table = new Table({ head, style: { head: [], border: [] } })
  for (const pod of ordered(selection)) table.push(row(selection, pod))
  const best = ranking[0]
  return [
    table.toString(),
    best === undefined
      ? `no pod of ${pods.length}: ${outcome}`
      : `pick      ${best}, by ${pick?.plugin ?? 'nobody'}${bound > 0 ? `, ${bound} requests at most` : ''}`,
    ...(ranking.length > 1 ? [`then      ${ranking.slice(1).join(', ')}`] : []),
    ...(sessionPod === undefined ? [] : [`session   lives on ${sessionPod ?? 'no pod'}`]),
  ].join('\n')
}

type ExplainedPod = ExplainedSelection['pods'][number]

/** The ranked ones first, then the others that were left, then those dropped. */
function ordered({ pods, ranking, totals }: ExplainedSelection): ExplainedPod[] {
  const place = ({ id }: ExplainedPod): number => {
    const at = ranking.indexOf(id)
    if (at >= 0) return at
    return id in totals ? ranking.length : ranking.length + 1
  }
  return [...pods].sort((a, b) => place(a) - place(b))
}

function row(selection: ExplainedSelection, pod: ExplainedPod): string[] {
  const { scores, totals, cache } = selection
  const { id, load } = pod
  const total = totals[id]
  return [
    id,
    String(load.requests),
    String(load.pendingTokens),
    String(load.activeTokens),
    `${(load.kvUse * 100).toFixed(0)} %`,
    cache === null ? '-' : String(cache.tokens[id] ?? 0),
    source(selection, pod),
    ...scores.map(({ raw, weighted }) => scoreText(raw[id], weighted[id])),
    total === undefined ? '-' : short(total),
    result(selection, id),
  ]
}

const scoreText = (raw: number | undefined, weighted: number | undefined): string =>
  raw === undefined || weighted === undefined ? '-' : `${short(raw)} → ${short(weighted)}`

function source({ cache }: ExplainedSelection, pod: ExplainedPod): string {
  const mode = cache?.hints[pod.id]?.mode ?? pod.cache?.source
  if (mode === undefined) return '-'
  const ageMs = pod.cache?.ageMs ?? null
  return ageMs === null ? mode : `${mode}, ${age(ageMs)} ago`
}

function result({ filters, ranking, totals }: ExplainedSelection, id: string): string {
  const at = ranking.indexOf(id)
  if (at === 0) return 'pick'
  if (at > 0) return `fall-back ${at}`
  const filter = filters.find(({ dropped }) => dropped.includes(id))
  if (filter !== undefined) return `dropped by ${filter.plugin}: ${filter.reasons[id] ?? 'no reason given'}`
  return id in totals ? 'not among the first' : '-'
}

function age(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`
}

/** Three digits behind the point say enough of a score, and none of a large cost. */
const short = (value: number): string =>
  Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toFixed(3)))
