/** `models[].forwardTokens`: an engine that is sent ids answers as it does to the text. */
import assert from 'node:assert/strict'
import { z } from 'zod'
import { VLLM_MODEL } from '../engine.js'
import { BLOCK_SIZE } from '../engines.js'
import { type Fleet, type FleetCase, post } from '../fleet.js'
import { paths } from '../paths.js'
import { startRouter } from '../router.js'

const answer = z.object({
  choices: z
    .array(
      z.object({
        text: z.string(),
        finish_reason: z.string(),
        token_ids: z.array(z.number()),
        prompt_token_ids: z.array(z.number()),
      }),
    )
    .length(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }),
})

const PROMPTS: readonly string[] = [
  'A leaf on a stem',
  ' \n\twhite space first, and last \n',
  '"quoted" \\ {braces} </s> <|im_start|>user\nHello<|im_end|>',
  'Blätter an Stengeln – 葉は茎に。 🌿\u2028 e\u0301',
  'Leaves on a stem are spaced by the golden angle. '.repeat(60),
  ...Array.from({ length: 15 }, (_, i) => `Once upon a time there were ${i} leaves, and`),
]

/** All texts that vLLM would be sent stay as they came, but the prompt. */
const body = (prompt: string): string =>
  JSON.stringify({
    model: VLLM_MODEL,
    prompt,
    max_tokens: 12,
    temperature: 0,
    seed: 1,
    return_token_ids: true,
  })

async function ask(url: string, prompt: string) {
  const { status, text } = await post(url, '/v1/completions', body(prompt))
  assert.equal(status, 200, text)
  const { choices, usage } = answer.parse(JSON.parse(text))
  return { ...choices[0], usage }
}

/** Comparisons of the engine's count with the router's: only prompts that went as text are compared. */
async function comparisons(adminUrl: string): Promise<Record<string, number>> {
  const page = await (await fetch(`${adminUrl}/metrics`)).text()
  const lines = [...page.matchAll(/^phyllo_prompt_count_checks_total\{result="(\w+)"\} (\d+)$/gm)]
  return Object.fromEntries(lines.map(([, result = '', count]) => [result, Number(count)]))
}

async function forwarded({ engines }: Fleet): Promise<string> {
  const [engine] = engines.vllm
  assert.ok(engine)
  const router = await startRouter(
    'router-forward-tokens',
    {
      pods: [{ id: engine.name, url: engine.url }],
      models: [
        {
          name: VLLM_MODEL,
          dir: paths.tokenizer,
          blockSize: BLOCK_SIZE,
          profile: 'cache-aware',
          forwardTokens: true,
        },
      ],
    },
    [VLLM_MODEL],
  )
  try {
    // The first requests go as text: one for each worker, wherever it lands.
    for (let i = 0; i < 8; i++) await ask(router.url, `Once upon a time ${i}`)
    for (const prompt of PROMPTS) {
      // Asked twice, so that the engine's cache is as it is for the third.
      await ask(engine.url, prompt)
      const asText = await ask(engine.url, prompt)
      assert.deepEqual(await ask(router.url, prompt), asText, prompt)
    }
    const { agrees = 0, ...others } = await comparisons(router.adminUrl)
    assert.deepEqual(others, { differs: 0, distrusted: 0, estimated: 0 })
    assert.ok(agrees >= 1 && agrees <= 2, `${agrees} requests went as text`)
    return `${PROMPTS.length} prompts as ids, ${agrees} as text`
  } finally {
    await router.process.stop()
  }
}

export const forwardTokensCases: readonly FleetCase[] = [
  { name: 'prompts sent as token ids get the answers that texts get', run: forwarded },
]
