/** The decision log: what of it can be said in the file, and whether its path will do. */
import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { bytes, count } from '../yaml/fields.js'
import { type Finding, show } from '../yaml/wording.js'

const KiB = 1024
const MiB = 1024 * KiB

export const decisionLog = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .describe('File that lines are appended to, relative to this file; one router process, one file.'),
    // A hundredth of 1,000 requests a second are 10 lines a second, 36,000 an hour: shares of picks are then known within
    // half a percent, and files of 5 x 64 MiB hold two to three hours of a fleet of 16 pods.
    rate: z
      .number()
      .min(0)
      .max(1)
      .default(0.01)
      .describe('Part of the requests whose decision is logged, 0 (none) to 1 (all). No unit.'),
    // A line of 16 pods is 3 to 4 KB, so that this is some 18,000 of them.
    maxBytes: bytes(64 * MiB, 64 * KiB, 64 * 1024 * MiB, 'Size at which a file makes room for the next.'),
    files: count(
      5,
      1,
      1_000,
      'Files kept, the one being written among them: PATH, PATH.1 (the last before), …',
    ),
    // Prompts are what users entrusted to the engines; nothing that is decided needs their text.
    prompt: z
      .boolean()
      .default(false)
      .describe("Whether a line holds the beginning (64 KiB) of the request's body, and so its prompt."),
  })
  .optional()
  .describe('The log of sampled decisions, JSON lines that `phyllo replay` reads. Default: none.')

type DecisionLog = NonNullable<z.output<typeof decisionLog>>

/** With an absolute path. Adds what is wrong with it to `findings`. */
export function resolveDecisionLog(log: DecisionLog, baseDir: string, findings: Finding[]): DecisionLog {
  const path = resolve(baseDir, log.path)
  const complain = (message: string, fix: string): void => {
    findings.push({ path: ['decisionLog', 'path'], at: 'value', message, fix })
  }
  if (kindOf(path) === 'directory') {
    complain(`${show(log.path)} is a directory (${path})`, 'name a file in it, such as decisions.jsonl')
  } else {
    const inTheWay = parents(path).find(dir => kindOf(dir) === 'file')
    if (inTheWay !== undefined)
      complain(`${show(log.path)} lies below a file (${inTheWay})`, 'name a file in a directory')
  }
  return { ...log, path }
}

function parents(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [] : [parent, ...parents(parent)]
}

function kindOf(path: string): 'file' | 'directory' | 'none' {
  try {
    return statSync(path).isDirectory() ? 'directory' : 'file'
  } catch {
    return 'none'
  }
}
