/** Reads a decision log, line by line: what is no decision of a known version is named by its number and passed over. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { type DecisionRecord, decisionRecord, RECORD_VERSION } from '../../decision/record/schema.js'
import { CliFailure, describeError } from '../failure.js'

export interface BadLine {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly fault: string
}

export type LogLine = { readonly record: DecisionRecord } | { readonly bad: BadLine }

/** `-` is standard input. Throws where a file cannot be read. */
export async function* logLines(file: string): AsyncGenerator<LogLine> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  let number = 0
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++
      if (text.trim() === '') continue
      const parsed = parseLine(text)
      yield 'fault' in parsed ? { bad: { file, line: number, fault: parsed.fault } } : parsed
    }
  } catch (error) {
    throw new CliFailure(`cannot read ${file}: ${describeError(error)}`)
  }
}

function parseLine(text: string): { record: DecisionRecord } | { fault: string } {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch (error) {
    return { fault: `no JSON (${describeError(error)})` }
  }
  const parsed = decisionRecord.safeParse(data)
  if (parsed.success) return { record: parsed.data }
  const version = typeof data === 'object' && data !== null && 'v' in data ? data.v : undefined
  if (version !== RECORD_VERSION) {
    return {
      fault: `no decision of version ${RECORD_VERSION} (v is ${JSON.stringify(version) ?? 'missing'})`,
    }
  }
  const [issue] = parsed.error.issues
  return { fault: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a decision'}` }
}
