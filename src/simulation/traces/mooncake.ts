/**
 * Mooncake's trace format, one JSON object a line: `timestamp` (ms), `input_length` and `output_length` (tokens), and
 * `hash_ids`, one for each 512 tokens of the prompt, the last for what is left. Equal ids stand for equal tokens behind
 * equal tokens. (https://github.com/kvcache-ai/Mooncake, FAST25-release/traces; Apache-2.0)
 *
 * What is not in the trace is who asks on. A request is taken for the follow-up of an earlier one if
 *
 * - its ids begin with all ids of the earlier prompt's full blocks (the last, partial block is filled up by the
 *   answer, and has another id then),
 * - the last of those ids was the earlier request's own, not one that it had from others (a system prompt, a document),
 * - and it is long enough for the earlier prompt and its answer.
 *
 * Two questions about one document can look like that, too; and a client that cuts its history does not. Of several
 * such requests, the one with the longest prompt is taken. The follow-up comes at its recorded time, but never before
 * the answer it needs; how long the person thought is not known, since the answer's time is not.
 */
import { z } from 'zod'
import { type Span, SpanPrompt, UNKNOWN_ANSWERS } from '../virtual/span-prompt.js'
import type { VirtualRequest, Workload } from '../virtual/workload.js'
import { linesOf, TraceError } from './lines.js'

/** Tokens that an id stands for. */
export const MOONCAKE_BLOCK = 512

const line = z.object({
  timestamp: z.number().min(0),
  input_length: z.int().min(1),
  output_length: z.int().min(0),
  hash_ids: z.array(
    z
      .int()
      .min(0)
      .max(UNKNOWN_ANSWERS - 1),
  ),
})
type Line = z.output<typeof line>

/** @param limit most requests */
export function mooncakeWorkload(name: string, content: Buffer, limit: number): Workload {
  const lines: Line[] = []
  for (const { number, text } of linesOf(content)) {
    if (lines.length === limit) break
    lines.push(parseLine(`${name}:${number}`, text))
  }
  lines.sort((a, b) => a.timestamp - b.timestamp)
  const { parents, roots } = followUps(lines)
  const continued = new Set(parents)
  // A part of a trace, or one with times since 1970, begins with its first request all the same.
  const firstMs = lines[0]?.timestamp ?? 0
  const requests = lines.map((each, at): VirtualRequest => {
    const after = parents[at] ?? null
    const root = roots[at] ?? at
    const isConversation = after !== null || continued.has(at)
    const outputTokens = Math.max(1, each.output_length)
    return {
      atMs: each.timestamp - firstMs,
      after,
      thinkMs: 0,
      session: isConversation ? `conversation-${root}` : null,
      prompt: new SpanPrompt(spansOf(each), { id: UNKNOWN_ANSWERS + at, tokens: outputTokens }),
      outputTokens,
    }
  })
  return { name, requests, modelDir: null }
}

function parseLine(place: string, text: string): Line {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    throw new TraceError(`${place}: no JSON; each line of a Mooncake trace is one object`)
  }
  const parsed = line.safeParse(data)
  if (!parsed.success) throw new TraceError(`${place}: ${z.prettifyError(parsed.error)}`)
  const { hash_ids: ids, input_length: length } = parsed.data
  const wanted = Math.ceil(length / MOONCAKE_BLOCK)
  if (ids.length !== wanted) {
    throw new TraceError(
      `${place}: ${ids.length} hash_ids for ${length} tokens; there is one for each ${MOONCAKE_BLOCK}, ${wanted} in all`,
    )
  }
  return parsed.data
}

function spansOf({ hash_ids: ids, input_length: length }: Line): Span[] {
  return ids.map((id, at) => ({ id, tokens: Math.min(MOONCAKE_BLOCK, length - at * MOONCAKE_BLOCK) }))
}

/** Which request each one follows, and the first one of its conversation. */
function followUps(lines: readonly Line[]): { parents: (number | null)[]; roots: number[] } {
  /** The last request whose last full block this is, and which had it first. */
  const byLastBlock = new Map<number, number>()
  const seen = new Set<number>()
  const roots: number[] = []
  const parents = lines.map((each, at) => {
    const full = each.hash_ids.slice(0, Math.floor(each.input_length / MOONCAKE_BLOCK))
    const parent = parentOf(each, full, lines, byLastBlock)
    roots.push(parent === null ? at : (roots[parent] ?? parent))
    const last = full.at(-1)
    if (last !== undefined && !seen.has(last)) byLastBlock.set(last, at)
    for (const id of full) seen.add(id)
    return parent
  })
  return { parents, roots }
}

function parentOf(
  each: Line,
  full: readonly number[],
  lines: readonly Line[],
  byLastBlock: ReadonlyMap<number, number>,
): number | null {
  for (let at = full.length - 1; at >= 0; at--) {
    const found = byLastBlock.get(full[at] ?? -1)
    const earlier = found === undefined ? undefined : lines[found]
    if (found === undefined || earlier === undefined) continue
    return each.input_length >= earlier.input_length + earlier.output_length ? found : null
  }
  return null
}
