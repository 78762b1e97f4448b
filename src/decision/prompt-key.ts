/** The beginning of a prompt as a key for consistent hashing. */
import { fnv1a } from './hash.js'
import type { RequestView } from './plugin.js'

const PROMPT_FIELDS = ['messages', 'prompt', 'input'] as const

/** Of the first so many bytes of the prompt's JSON text. */
export function promptKey(ctx: RequestView, limit: number): string {
  for (const field of PROMPT_FIELDS) {
    const bytes = ctx.fieldBytes(field, limit)
    if (bytes !== undefined) return `prompt:${fnv1a(bytes, bytes.length)}`
  }
  return 'prompt:'
}
