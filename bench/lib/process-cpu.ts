/** CPU time of whole processes, as the kernel counts it (Linux): user and system time of all threads. */
import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10

/** Milliseconds of a process and its living descendants (a rival may fork). */
export function processCpuMs(pid: number): number {
  let ticks = 0
  for (const id of [pid, ...descendants(pid)]) {
    const stat = readStat(id)
    // Fields 14 and 15 of stat(5), counted behind the command's closing bracket: utime, stime.
    ticks += Number(stat[11] ?? 0) + Number(stat[12] ?? 0)
  }
  return ticks * MS_PER_TICK
}

function readStat(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

function descendants(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map((name): [number, number] => [Number(name), Number(readStat(Number(name))[1] ?? 0)])
  const found: number[] = []
  const visit = (parent: number): void => {
    for (const [child, of] of parents) {
      if (of !== parent) continue
      found.push(child)
      visit(child)
    }
  }
  visit(pid)
  return found
}
