/** Images and sounds in a chat, by a hash of what they are. */
import { createHash } from 'node:crypto'
import { z } from 'zod'

/** Content parts that an encoder turns into embeddings, as vLLM's disaggregated_encoder example names them. */
const TYPES: ReadonlySet<string> = new Set(['image_url', 'audio_url', 'video_url', 'input_audio'])

const chatBody = z.looseObject({
  messages: z.array(
    z.looseObject({ content: z.array(z.looseObject({ type: z.string() })) }).catch({ content: [] }),
  ),
})

/** Hashes of a request's media, in order, one for each part; empty for one without, or that is no chat. */
export function mediaOf(fields: unknown): string[] {
  const parsed = chatBody.safeParse(fields)
  if (!parsed.success) return []
  return parsed.data.messages.flatMap(({ content }) =>
    content
      .filter(({ type }) => TYPES.has(type))
      .map(part =>
        createHash('sha256')
          .update(JSON.stringify(part[part.type] ?? null))
          .digest('hex'),
      ),
  )
}
