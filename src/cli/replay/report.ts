/** What a replay found, for people. */
import Table from 'cli-table3'
import type { ReplaySummary } from '../../decision/record/compare.js'
import type { BadLine } from './lines.js'

export interface ReplayReport extends ReplaySummary {
  readonly profile: string
  /** Lines that hold no decision, the first of them by name. */
  readonly badLines: { readonly count: number; readonly first: readonly BadLine[] }
  /** Decisions that the profile could not be asked again, by reason. */
  readonly failed: Readonly<Record<string, number>>
  /** What the figures do not hold. */
  readonly notes: readonly string[]
}

/** Moves and bad lines that are shown; `--json` has all moves. */
const SHOWN = 20

export function replayText(report: ReplayReport): string {
  const { decisions, loggedProfiles, profile, badLines, failed } = report
  const logged = Object.entries(loggedProfiles).map(([name, count]) => `${name} (${count})`)
  return [
    `${decisions} decisions, logged with ${logged.join(', ') || 'no profile'}, decided again with ${profile}`,
    '',
    figures(report),
    ...(report.moves.length === 0 ? [] : ['', moves(report)]),
    '',
    picks(report),
    ...Object.entries(failed).map(([reason, count]) => `${count} not decided again: ${reason}`),
    ...badLineTexts(badLines),
    ...(report.notes.length === 0 ? [] : ['', 'Not reproduced:', ...report.notes.map(note => `  - ${note}`)]),
  ].join('\n')
}

function figures({ samePicks, sameShare, decisions, cachedTokens, imbalance }: ReplaySummary): string {
  const table = new Table({ head: ['', 'logged', 'replayed', 'difference'], style: plain })
  const { logged, replayed, gained, lost, prompt, unknown } = cachedTokens
  const share = (tokens: number): string => (prompt === 0 ? '' : ` (${percent(tokens / prompt)})`)
  table.push([
    'same pick',
    '',
    sameShare === null ? '-' : `${samePicks} of ${decisions}`,
    sameShare === null ? '-' : percent(sameShare),
  ])
  if (unknown < decisions) {
    const net = `${signed(replayed - logged)} (+${gained} −${lost})`
    table.push(['predicted cached tokens', `${logged}${share(logged)}`, `${replayed}${share(replayed)}`, net])
  }
  table.push(ratioRow('requests, max/mean', imbalance.logged.requests, imbalance.replayed.requests))
  const { uncachedTokens: before } = imbalance.logged
  const { uncachedTokens: after } = imbalance.replayed
  if (before !== null && after !== null) table.push(ratioRow('uncached tokens, max/mean', before, after))
  return table.toString()
}

const ratioRow = (name: string, before: number, after: number): string[] => [
  name,
  before.toFixed(2),
  after.toFixed(2),
  signed(after - before, 2),
]

function moves({ moves: all }: ReplaySummary): string {
  const table = new Table({ head: ['from', 'to', 'requests'], style: plain })
  for (const { from, to, requests } of all.slice(0, SHOWN)) table.push([from, to, requests])
  if (all.length > SHOWN) table.push(['…', '…', `${all.length - SHOWN} more pairs`])
  return table.toString()
}

function picks({ picks: byPod }: ReplaySummary): string {
  const table = new Table({ head: ['pod', 'logged', 'replayed'], style: plain })
  for (const [pod, { logged, replayed }] of Object.entries(byPod)) table.push([pod, logged, replayed])
  return table.toString()
}

function badLineTexts({ count, first }: ReplayReport['badLines']): string[] {
  if (count === 0) return []
  const shown = first.map(({ file, line, fault }) => `  ${file}:${line}  ${fault}`)
  const more = count > first.length ? [`  … and ${count - first.length} more`] : []
  return ['', `${count} line${count === 1 ? '' : 's'} passed over:`, ...shown, ...more]
}

const plain = { head: [], border: [] }
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const signed = (value: number, digits = 0): string =>
  `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`
