/** What all pods hold of a prompt whose profile does not ask, for the record of a decision: so that others can be tried. */
import { BODY_KINDS, isTicket, NO_TICKET, OPS, SUMMARY, SUMMARY_WORDS, type Ticket } from '../data/native.js'
import type { RoutingContext } from './context.js'

export interface PromptRecord {
  readonly tokens: number
  /** The model's own tokens; otherwise an estimate (bytes / 4). */
  readonly exact: boolean
  readonly blocks: number
  readonly blockSize: number
  /** What kind of request it is, as `chat+tools`; empty where nothing was prepared. */
  readonly shape: string
}

export interface WholeMatch {
  readonly prompt: PromptRecord
  /** Cached prompt tokens by slot. */
  readonly cached: Uint32Array
}

const ALL = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix

/** A native call of its own; undefined where it cannot be made, and where the template refuses the request. */
export function wholeMatch({ lane, modelId, request, body, fields }: RoutingContext): WholeMatch | undefined {
  if (modelId < 0) return undefined
  const ticket = lane.native.prepare(modelId, ALL, BODY_KINDS[request.kind], body, fields)
  if (!isTicket(ticket)) return undefined
  try {
    const cached = new Uint32Array(lane.width)
    lane.native.cachedTokens(ticket, cached)
    return { prompt: promptRecord(lane.native, ticket), cached }
  } finally {
    lane.native.drop(ticket)
  }
}

export function promptRecord(
  native: Pick<RoutingContext['lane']['native'], 'summary' | 'shape'>,
  ticket: Ticket,
): PromptRecord {
  const words = new Uint32Array(SUMMARY_WORDS)
  native.summary(ticket, words)
  const word = (index: number): number => words[index] ?? 0
  return {
    tokens: word(SUMMARY.promptTokens),
    exact: word(SUMMARY.exact) === 1,
    blocks: word(SUMMARY.blocks),
    blockSize: word(SUMMARY.blockSize),
    shape: ticket === NO_TICKET ? '' : native.shape(ticket),
  }
}
