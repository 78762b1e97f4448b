import { z } from 'zod'
import { ADAPTERS, STANDING, type Standing } from '../../../data/adapter-table.js'
import { scorer } from '../../factories.js'
import { hashWord } from '../../hash.js'

/**
 * Scores by STANDING, those of the Gateway API inference extension's lora-affinity-scorer (pkg/epp/scheduling/framework/
 * plugins/scorer/lora_affinity.go), which llm-d has, too. What is inferred gets the same.
 */
const SCORES: Readonly<Record<Standing, number>> = {
  [STANDING.untold]: 0,
  [STANDING.active]: 1,
  [STANDING.room]: 0.8,
  [STANDING.waiting]: 0.6,
  [STANDING.full]: 0,
}

/**
 * Prefers pods that have the request's LoRA adapter loaded, then those with a place free for it, then those that have
 * requests for it in their queue; where others would have to make way, 0. Engines serve adapters under model names of
 * their own, so the model is the adapter. vLLM says on its metrics page which adapters it runs; what was sent since fills
 * the gap. Of pods that do not say, it is told from the requests that went there: an engine drops the adapter that was
 * used least recently.
 */
export const loraAffinity = scorer({
  name: 'lora-affinity',
  summary:
    'Prefers pods that have the LoRA adapter of the request loaded, then those with a free place for it.',
  options: z.object({
    places: z
      .int()
      .min(1)
      .max(ADAPTERS)
      .default(4)
      .describe(
        "Adapters that an engine has loaded at a time (vLLM's --max-loras), where it does not say so itself. No unit.",
      ),
    baseModels: z
      .array(z.string())
      .default([])
      .describe('Models that are no adapters: requests for them go anywhere.'),
  }),
  build: ({ places, baseModels }, env) => {
    const { adapters } = env.board
    const base = new Set(baseModels)
    env.onBooked((ctx, slot) => {
      if (!base.has(ctx.model)) adapters.used(slot, hashWord(ctx.model))
    })
    const inferred = (slot: number, adapter: number): Standing => {
      const since = adapters.since(slot, adapter)
      if (since >= 0 && since < places) return STANDING.active
      return adapters.count(slot) < places ? STANDING.room : STANDING.full
    }
    return (ctx, pods, out) => {
      if (base.has(ctx.model)) return
      const adapter = hashWord(ctx.model)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const standing = adapters.standing(slot, adapter)
        out[i] = SCORES[standing === STANDING.untold ? inferred(slot, adapter) : standing]
      }
    }
  },
})
