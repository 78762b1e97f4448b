import { z } from 'zod'
import { ADAPTERS } from '../../../data/adapter-table.js'
import { scorer } from '../../factories.js'
import { hashWord } from '../../hash.js'

/** As llm-d has them. */
const LOADED = 1
const HAS_ROOM = 0.8

/**
 * Prefers pods that have the request's LoRA adapter loaded, then those with a place free for it; where others would have
 * to make way, 0. Engines serve adapters under model names of their own, so the model is the adapter. What is loaded is
 * told from the requests that went there: an engine drops the adapter that was used least recently.
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
      .describe("Adapters that an engine has loaded at a time (vLLM's --max-loras). No unit."),
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
    return (ctx, pods, out) => {
      if (base.has(ctx.model)) return
      const adapter = hashWord(ctx.model)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const since = adapters.since(slot, adapter)
        if (since >= 0 && since < places) out[i] = LOADED
        else out[i] = adapters.count(slot) < places ? HAS_ROOM : 0
      }
    }
  },
})
