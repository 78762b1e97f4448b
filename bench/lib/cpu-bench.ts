/**
 * tinybench with CPU time in place of wall time: on a busy machine the former still means something. Each sample is a
 * batch long enough (about a millisecond or more) for the clock's microseconds.
 */
import { Bench } from 'tinybench'

/** CPU milliseconds of this process, all threads. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

export interface Subject {
  readonly name: string
  /** Runs a batch. */
  run(): void
  /** Operations in a batch. */
  readonly batch: number
}

/** Runs all subjects in turn, `rounds` times over; answers each one's CPU nanoseconds an operation, one per round. */
export async function interleaved(
  subjects: readonly Subject[],
  rounds: number,
  ms: number,
): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>(subjects.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects) {
      const bench = new Bench({ now: cpuMs, time: ms, warmupTime: ms / 5 })
      bench.add(subject.name, () => subject.run())
      await bench.run()
      const result = bench.tasks[0]?.result
      if (result === undefined || !('latency' in result)) throw new Error(`no result for ${subject.name}`)
      samples.get(subject.name)?.push((result.latency.mean * 1e6) / subject.batch)
    }
  }
  return samples
}
