/**
 * The proxy bench: CPU time per request of whole router processes, Phyllo and its rivals in front of the same canned
 * engines, interleaved. CPU time (user and system, as the kernel counts it) stays meaningful on a busy machine, where
 * throughput and latency do not.
 */
import { request } from 'undici'
import { freePort } from '../../test/free-port.js'
import { pause, Server } from '../lib/child.js'
import { processCpuMs } from '../lib/process-cpu.js'
import { printTable, type Row, rootDir, summarise, updateReadme, writeResults } from '../lib/results.js'
import { type Case, cases } from './cases.js'
import { LoadGenerator, startEngines } from './fleet.js'
import { modelDir, Prompts } from './prompts.js'
import { type Subject, startRivals } from './rivals.js'

const ROUNDS = 5
/** Of a quick look, which writes no results: enough to see that all works. */
const QUICK = { rounds: 1, share: 0.1 }

export interface ProxyBenchOptions {
  readonly quick: boolean
}

/** CPU µs per request, one sample a round, by case and subject. */
type Samples = Map<Case, Map<string, number[]>>

export async function benchProxy({ quick }: ProxyBenchOptions): Promise<void> {
  const engines = await startEngines()
  const phyllos = {
    'least-request': await startPhyllo('least-request', engines, []),
    'cache-aware': await startPhyllo('cache-aware', engines, ['--model-dir', modelDir]),
  }
  const rivals = await startRivals(engines, serves)
  const load = new LoadGenerator()
  const prompts = new Prompts()
  prompts.check()
  const all = cases(prompts)
  const subjectsOf = (one: Case) => [phyllos[one.profile], ...(one.rivals ? rivals : [])]
  const samples: Samples = new Map(
    all.map(one => [one, new Map(subjectsOf(one).map(({ name }) => [name, []]))]),
  )
  const rounds = quick ? QUICK.rounds : ROUNDS
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const one of all) {
        const requests = Math.ceil(one.requests * (quick ? QUICK.share : 1))
        await runCase(one, rotated(subjectsOf(one), round), requests, engines, load, samples, round)
      }
    }
  } finally {
    load.stop()
    for (const { server } of [...Object.values(phyllos), ...rivals]) await server.stop()
  }
  report(samples, quick)
}

/** Each subject is first in its turn: whatever follows from the order evens out. */
function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

/** Round 0 warms up (compilers, connections, known prompts) and is not counted. */
async function runCase(
  one: Case,
  subjects: readonly Subject[],
  requests: number,
  engines: readonly number[],
  load: LoadGenerator,
  samples: Samples,
  round: number,
): Promise<void> {
  const bodies = one.bodies(requests)
  const { text: expected } = await ask(`http://127.0.0.1:${engines[0]}`, bodies[0] ?? '')
  for (const { name, origin, server } of subjects) {
    const before = processCpuMs(server.pid)
    const { seconds } = await load.run({ origin, bodies, expected, connections: one.connections, requests })
    // The ends of the connections, which the load generator has just closed.
    await pause(50)
    const cpuMs = processCpuMs(server.pid) - before
    const micros = (cpuMs * 1000) / requests
    const kind = round === 0 ? 'warm-up' : `round ${round}`
    console.log(
      `${kind}: ${one.name}: ${name}: ${micros.toFixed(1)} µs (${cpuMs} ms CPU in ${seconds.toFixed(1)} s)`,
    )
    if (round === 0) continue
    samples.get(one)?.get(name)?.push(micros)
  }
}

const hello = '{"model":"bench","messages":[{"role":"user","content":"Hello"}]}'
const serves = async (origin: string): Promise<boolean> => (await ask(origin, hello)).statusCode === 200

async function ask(origin: string, body: string): Promise<{ statusCode: number; text: string }> {
  const headers = { 'content-type': 'application/json' }
  const answer = await request(`${origin}/v1/chat/completions`, { method: 'POST', headers, body })
  return { statusCode: answer.statusCode, text: await answer.body.text() }
}

async function startPhyllo(
  profile: string,
  engines: readonly number[],
  more: readonly string[],
): Promise<Subject> {
  const port = await freePort()
  const pods = engines.flatMap(engine => ['--pod', `http://127.0.0.1:${engine}`])
  const flags = ['--workers', '1', '--host', '127.0.0.1', '--port', String(port), '--admin-port', '0']
  const args = [`${rootDir}dist/cli/main.js`, 'serve', '--profile', profile, ...flags, ...pods, ...more]
  const server = new Server(`phyllo ${profile}`, process.execPath, args)
  const origin = `http://127.0.0.1:${port}`
  await server.ready(() => serves(origin))
  return { name: 'phyllo', origin, server }
}

function report(samples: Samples, quick: boolean): void {
  const rows: Row[] = []
  for (const [one, subjects] of samples) {
    const own = subjects.get('phyllo') ?? []
    for (const [subject, micros] of subjects) {
      rows.push({ case: one.name, subject, metric: 'CPU per request', unit: 'µs', ...summarise(micros) })
      if (subject === 'phyllo') continue
      const ratios = micros.map((value, round) => value / (own[round] ?? Number.NaN))
      rows.push({ case: one.name, subject, metric: 'CPU against phyllo', unit: '×', ...summarise(ratios) })
    }
  }
  printTable(rows)
  if (!quick) updateReadme('proxy', writeResults('proxy', ['npm run bench -- proxy'], rows))
}
