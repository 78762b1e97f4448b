/** Which answers can be learned: those of one prompt, with one answer in them and nothing else. */
import type { RoutingContext } from '../decision/context.js'

/** Looks at the request, which must still be there. */
export function isSingle(ctx: RoutingContext): boolean {
  const n = ctx.rawField('n')
  if (n !== undefined && n !== '1') return false
  if (ctx.request.kind !== 'completions') return true
  return !isBatch(ctx) && !ctx.body.includes(ECHO)
}

/** As a key, or as a text of its own: in any other text its quotes would be escaped. */
const ECHO = Buffer.from('"echo"')

/** Bytes of a prompt looked at to tell a list of token ids, which is one prompt, from a list of prompts. */
const GLANCE = 16
const OPEN_BRACKET = 0x5b
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

function isBatch(ctx: RoutingContext): boolean {
  const start = ctx.fieldBytes('prompt', GLANCE)
  if (start?.[0] !== OPEN_BRACKET) return false
  return !isDigit(start.subarray(1).find(byte => !isSpace(byte)))
}
