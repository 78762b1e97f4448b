/** bench/INDEX.md: the goals, the plot and every table of a run. */
import type { Goal } from './goals.js'
import type { Results } from './results.js'
import { goalTable, tables, toMarkdown } from './tables.js'

const intro = `# The prefix index and its peers

Written by \`npm run bench:index\`; every sample is summed up in [results/index.json](results/index.json). Numbers are the
median of the rounds, with the least and the greatest in brackets. Subjects take turns within a round, each index was built
and its answers were checked before anything was timed, and CPU time is that of the thread that asks, so a busy machine is
counted as little as may be. It still shows: compare within a line, not between runs.

Workloads: *fan8*: 8 pods hold a conversation, to 8 depths · *tree8*: and each goes on with blocks of its own · *sys8*: all
pods share a system prompt, 8 go deeper · *best8*: 8 pods hold all blocks asked for. *W* pods, *D* blocks a query, of which
an eighth is held by nobody (in best8: none); about half a million (pod, block) pairs, in one table 16 million.

Peers: NVIDIA Dynamo's indexes (crate \`dynamo-kv-router\` 1.6.1): the compressed radix tree, the positional
index with jumps of 64 or by binary search, and the plain radix tree, which one thread alone may use. \`phyllo-ts\`
is the inverted index in pure TypeScript, in shapes of the same sizes.
`

export function report(head: string, plot: string, results: Results, goals: readonly Goal[]): string {
  const [first, ...others] = tables(results)
  return [
    intro,
    `${head}\n`,
    toMarkdown(goalTable(goals)),
    ...(first === undefined ? [] : [toMarkdown(first)]),
    `![CPU time of queries by cell and subject](${plot})\n`,
    ...others.map(toMarkdown),
  ].join('\n')
}
