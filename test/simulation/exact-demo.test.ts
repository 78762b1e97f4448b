/** `phyllo demo --exact` from end to end: real sockets, real events, one router and two. */
import test from 'ava'
import { runExactDemo } from '#phyllo/simulation/exact-demo.js'
import { renderExactTable } from '#phyllo/simulation/exact-report.js'

// Which finds more is a matter of the machine's pace with so few conversations; the demo itself shows it with all.
test('all four rows, and nothing fails', async t => {
  let text = ''
  const summaries = await runExactDemo({ speed: 40, conversations: 4, write: part => (text += part) })
  t.deepEqual(
    summaries.map(({ routers, mode, failed }) => [routers, mode, failed]),
    [
      [1, 'predicted', 0],
      [1, 'exact', 0],
      [2, 'predicted', 0],
      [2, 'exact', 0],
    ],
  )
  for (const { belief, hitRate, expectedRate, ttftP50, ttftP90 } of summaries) {
    t.true(belief.expected > 0 && belief.actual > 0, text)
    t.true(hitRate > 0 && hitRate < 1 && expectedRate > 0 && expectedRate < 1, text)
    t.true(ttftP50 <= ttftP90, text)
  }
  t.regex(text, /times what 4 engines with 700 blocks each can hold/)
  t.true(
    text.includes(
      renderExactTable(
        summaries,
        [1, 2, 3, 4].map(n => ({ id: `pod-${n}`, url: '' })),
      ),
    ),
  )
})
