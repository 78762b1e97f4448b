/** The workload that the options ask for. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { demoModelDir } from '../demo-run.js'
import { azureWorkload } from '../traces/azure.js'
import { burstGptWorkload } from '../traces/burstgpt.js'
import { linesOf, readTrace, TraceError } from '../traces/lines.js'
import { areTimed, messagesWorkload } from '../traces/messages.js'
import { mooncakeWorkload } from '../traces/mooncake.js'
import { syntheticWorkload } from '../traces/synthetic.js'
import { recordedRate, rescaled, type Workload } from '../virtual/workload.js'
import { OptionsError } from './failure.js'
import type { SimulationOptions } from './schema.js'

type Format = Exclude<SimulationOptions['format'], 'auto'>

/** Rate of generated arrivals where nobody says: the middle of what one pod of most classes serves. */
const DEFAULT_RATE = 4

/** Throws an OptionsError or a TraceError with what is wrong. */
export function workloadOf(options: SimulationOptions): Workload {
  const { rate, rateScale } = options
  if (rate !== undefined && rateScale !== undefined) {
    throw new OptionsError('--rate-scale  cannot be given with --rate — leave one of them out')
  }
  const { workload, isTimed } = read(options)
  if (workload.requests.length === 0) {
    throw new OptionsError(`--trace  ${workload.name} holds no request that can be simulated`)
  }
  const factor = rateScale ?? (rate === undefined || !isTimed ? 1 : rate / knownRate(workload))
  return factor === 1 ? workload : rescaled(workload, factor)
}

/** `isTimed`: whether its times are recorded, and not drawn at the rate that was asked for. */
function read(options: SimulationOptions): { readonly workload: Workload; readonly isTimed: boolean } {
  const { trace, synthetic, seed, think: thinkMs, rate = DEFAULT_RATE, conversations } = options
  const limit = options.limit ?? Number.POSITIVE_INFINITY
  if (synthetic !== undefined) {
    if (trace !== undefined)
      throw new OptionsError('--synthetic  cannot be given with a trace — leave one out')
    return { workload: syntheticWorkload(synthetic, { rate, thinkMs, seed, limit }), isTimed: false }
  }
  if (trace === undefined) {
    throw new OptionsError(
      '--trace  is missing — name a file with requests, or say --synthetic groups=16,prompts=50',
    )
  }
  const content = readTrace(trace)
  const format = options.format === 'auto' ? formatOf(trace, content) : options.format
  if (conversations !== undefined && format !== 'messages') {
    throw new OptionsError(
      `--conversations  is for traces of messages, and ${trace} is ${format} — say --limit`,
    )
  }
  const name = basename(trace)
  switch (format) {
    case 'mooncake':
      return { workload: mooncakeWorkload(name, content, limit), isTimed: true }
    case 'burstgpt':
      return { workload: burstGptWorkload(name, content, limit), isTimed: true }
    case 'azure':
      return { workload: azureWorkload(name, content, limit), isTimed: true }
    case 'messages': {
      const modelDir = modelDirOf(options)
      const workload = messagesWorkload(name, content, {
        modelDir,
        conversations,
        rate,
        thinkMs,
        seed,
        limit,
      })
      return { workload, isTimed: areTimed(name, content) }
    }
  }
}

function modelDirOf({ modelDir = demoModelDir() }: SimulationOptions): string {
  if (existsSync(join(modelDir, 'tokenizer.json'))) return modelDir
  throw new OptionsError(
    `--model-dir  ${modelDir} holds no tokenizer.json — copy the model's tokenizer files there`,
  )
}

/** By the first line: JSON with its own fields, or a CSV's header. */
function formatOf(file: string, content: Buffer): Format {
  const first = linesOf(content).next().value?.text
  if (first === undefined) throw new TraceError(`${file}: is empty`)
  if (first.startsWith('{') && first.includes('"hash_ids"')) return 'mooncake'
  if (first.startsWith('{') && first.includes('"messages"')) return 'messages'
  if (first.includes('Request tokens')) return 'burstgpt'
  if (first.includes('ContextTokens')) return 'azure'
  throw new TraceError(
    `${file}:1: neither Mooncake nor messages JSONL, nor a BurstGPT or Azure CSV with its header — say --format`,
  )
}

function knownRate(workload: Workload): number {
  const rate = recordedRate(workload)
  if (rate > 0) return rate
  throw new OptionsError(`--rate  ${workload.name} has all its requests at one time — say --rate-scale`)
}
