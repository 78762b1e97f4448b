/** The results as tables that are read side by side: a profile a line, a cell a column. */
import type { Row } from '../lib/results.js'

/** A column's short name, and the case that it shows. */
interface Column {
  readonly head: string
  readonly case: string
}

/** `rows`: all of the bench, in the order in which they were made. */
export function policyTables(rows: readonly Row[]): string {
  const cases = [...new Set(rows.map(row => row.case))]
  const mooncake = cases.filter(name => name.includes('cache ×') && name.startsWith('mooncake'))
  const agents = cases.filter(name => name.startsWith('swe_agent'))
  const sizes = cases.filter(name => / \d+ pods$/.test(name))
  const byCell = [...mooncake, ...agents].map(name => ({ head: cellHead(name), case: name }))
  const bySize = sizes.map(name => ({ head: /(\d+) pods$/.exec(name)?.[1] ?? name, case: name }))
  return [
    '**Mean TTFT in ms**, by cache size and load:',
    table(rows, byCell, 'TTFT mean', true),
    '**Hit rate in %** of prompt tokens, same cells:',
    table(rows, byCell, 'hit rate', false),
    '**Requests within the SLO in %**, same cells:',
    table(rows, byCell, 'in SLO', false),
    '**Hit rate in % by fleet size**, mooncake_conversation, the load a pod the same (0.8 of that of 8 pods):',
    table(rows, bySize, 'hit rate', false),
    '**Mean TTFT in ms by fleet size**:',
    table(rows, bySize, 'TTFT mean', true),
  ].join('\n\n')
}

/** `×0.5, load 0.8` of a case's name. */
function cellHead(name: string): string {
  const [trace, cache, load] = [/^\w+?(?=_)/, /×[\d.]+/, /load ([\d.]+)/].map(part => part.exec(name))
  return `${trace?.[0] ?? ''} ${cache?.[0] ?? ''} load ${load?.[1] ?? ''}`
}

/** Best first by the first column, where lower is better; the best of each column is bold. */
function table(rows: readonly Row[], columns: readonly Column[], metric: string, lowest: boolean): string {
  const value = (subject: string, { case: name }: Column): number | undefined =>
    rows.find(row => row.subject === subject && row.case === name && row.metric === metric)?.med
  const subjects = [...new Set(rows.map(row => row.subject))].filter(subject =>
    columns.some(column => value(subject, column) !== undefined),
  )
  const sum = (subject: string): number =>
    columns.reduce((total, column) => total + Math.log(value(subject, column) ?? 1), 0)
  subjects.sort((a, b) => (lowest ? sum(a) - sum(b) : sum(b) - sum(a)))
  const best = columns.map(column => {
    const all = subjects.flatMap(subject => value(subject, column) ?? [])
    return lowest ? Math.min(...all) : Math.max(...all)
  })
  const line = (subject: string): string => {
    const cells = columns.map((column, i) => {
      const found = value(subject, column)
      const text = found === undefined ? '' : found >= 100 ? found.toFixed(0) : found.toFixed(1)
      return found === best[i] ? `**${text}**` : text
    })
    return `| ${subject} | ${cells.join(' | ')} |`
  }
  return [
    `| profile | ${columns.map(({ head }) => head).join(' | ')} |`,
    `|---|${columns.map(() => '---:').join('|')}|`,
    ...subjects.map(line),
  ].join('\n')
}
