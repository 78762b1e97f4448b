/** Steps and named cases, one after the other; cases are reported as `ok` and `not ok` lines. */

export interface Case<Context> {
  readonly name: string
  /** Throws if the case fails; what it answers is printed behind the name. */
  run(context: Context): Promise<string | undefined>
  /** Where it takes longer than others may. */
  readonly timeoutMs?: number
}

export interface Report {
  passed: number
  failed: number
}

/** No case takes longer than this unless it says so; a hung engine must not hang CI. */
const CASE_TIMEOUT_MS = 120_000

/** Runs all cases. `evidence` is asked after each that failed: what there is to say besides its error. */
export async function runCases<Context>(
  cases: readonly Case<Context>[],
  context: Context,
  evidence: () => string = () => '',
): Promise<Report> {
  const report: Report = { passed: 0, failed: 0 }
  for (const { name, run, timeoutMs } of cases) {
    const started = performance.now()
    try {
      const note = await within(timeoutMs ?? CASE_TIMEOUT_MS, name, run(context))
      report.passed++
      console.log(`ok ${name}${note === undefined ? '' : `: ${note}`} (${seconds(started)})`)
    } catch (error) {
      report.failed++
      console.log(`not ok ${name} (${seconds(started)})`)
      console.log(indent(error instanceof Error ? (error.stack ?? error.message) : String(error)))
      console.log(indent(evidence()))
    }
  }
  return report
}

/** A step that takes a while says so twice a minute: CI systems take long silence for a hang. */
const SIGN_OF_LIFE_MS = 30_000

/** Does one step of the set-up, and prints when it starts, that it goes on, and when it is done. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now()
  console.log(`# ${what} …`)
  const timer = setInterval(() => console.log(`# ${what}: ${seconds(started)} so far`), SIGN_OF_LIFE_MS)
  try {
    const value = await work()
    console.log(`# ${what}: done (${seconds(started)})`)
    return value
  } finally {
    clearInterval(timer)
  }
}

/** The promise's value, or an error that names what took too long. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not done after ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again and again until the probe answers something other than undefined. */
export async function until<T>(
  ms: number,
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await probe()
    if (value !== undefined) return value
    if (performance.now() > deadline) throw new Error(`${what}: not so after ${ms / 1000} s`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

export const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`

export const indent = (text: string): string => text.replace(/^/gm, '    ')
