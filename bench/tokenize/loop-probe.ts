/**
 * Loaded into the router's threads (`--import`): each worker writes its event loop's delay to the file that PROBE_FILE
 * names, a line every two seconds. A timer of 1 ms is what is delayed, so that 1 ms is what an idle loop shows. With it
 * goes what the kernel knows of the thread: how long it ran, and how long it was ready and had no core.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const WINDOW_MS = 2_000
const file = process.env['PROBE_FILE']

/** Nanoseconds that this thread has run, and has waited for a core (Linux). */
const schedule = (): number[] =>
  readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ', 2).map(Number)

if (!isMainThread && file !== undefined) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  let before = schedule()
  setInterval(() => {
    const now = schedule()
    const [ran = 0, waited = 0] = now.map((ns, i) => (ns - (before[i] ?? 0)) / 1e6)
    before = now
    const [p50, p99, max] = [delay.percentile(50), delay.percentile(99), delay.max].map(ns => ns / 1e6)
    appendFileSync(file, `${JSON.stringify({ at: Date.now(), p50, p99, max, ran, waited })}\n`)
    delay.reset()
  }, WINDOW_MS).unref()
}
