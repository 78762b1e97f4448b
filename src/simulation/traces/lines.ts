/** A trace's file as lines: plain, gzipped or compressed with zstd, by what its first bytes say. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { decompress } from 'fzstd'

/** What is wrong with a trace; the message names file and line. */
export class TraceError extends Error {
  override readonly name = 'TraceError'
}

export interface TraceLine {
  /** From 1. */
  readonly number: number
  readonly text: string
}

/** First bytes of a zstd frame (RFC 8878) and of a gzip member (RFC 1952). */
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
const GZIP = Buffer.from([0x1f, 0x8b])

/** The file's content. Throws a TraceError if it cannot be read. */
export function readTrace(file: string): Buffer {
  try {
    const bytes = readFileSync(file)
    if (bytes.subarray(0, 4).equals(ZSTD)) return Buffer.from(decompress(bytes))
    return bytes.subarray(0, 2).equals(GZIP) ? gunzipSync(bytes) : bytes
  } catch (error) {
    throw new TraceError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** The lines that are not empty. One after the other: a trace of millions of lines is often wanted in part. */
export function* linesOf(content: Buffer): Generator<TraceLine> {
  let number = 0
  for (let at = 0; at < content.length; ) {
    const found = content.indexOf(0x0a, at)
    const end = found < 0 ? content.length : found
    const text = content.toString('utf8', at, end).trim()
    number++
    at = end + 1
    if (text !== '') yield { number, text }
  }
}
