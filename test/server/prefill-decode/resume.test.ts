/** A decode pod that dies in the middle of a stream: the request takes the workflow anew, with the text so far. */
import test from 'ava'
import OpenAI from 'openai'
import { modelDir } from '../router-kit.js'
import { type Connector, heal, prompt, settled, startFleet, workflowOf } from './kit.js'

const CONNECTORS: readonly Connector[] = ['nixl', 'p2p-nccl', 'mooncake', 'sglang', 'generic']

async function hear(client: OpenAI, content: string) {
  const stream = await client.chat.completions.create({
    model: 'tiny',
    stream: true,
    messages: [{ role: 'user', content }],
    max_tokens: 12,
    temperature: 0,
    stream_options: { include_usage: true },
  })
  let text = ''
  let usage: OpenAI.CompletionUsage | undefined
  for await (const event of stream) {
    text += event.choices[0]?.delta.content ?? ''
    usage = event.usage ?? usage
  }
  return { text, tokens: usage && [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens] }
}

for (const connector of CONNECTORS) {
  test.serial(`${workflowOf[connector]}: a decode pod that dies in the middle of a stream`, async t => {
    const fleet = await startFleet({
      connector,
      execute: { resume: { attempts: 1 } },
      engines: { modelDir },
      file: { models: [{ name: 'tiny', dir: modelDir }] },
    })
    t.teardown(() => fleet.close())
    const { router, alone, decode } = fleet
    const direct = new OpenAI({ baseURL: `${alone.url}/v1`, apiKey: 'none', maxRetries: 0 })
    for (const after of [1, 2, 7, 12]) {
      const content = prompt()
      decode[0].setFault(`die=${after}`, 'any', 1)
      const before = decode[1].requests()['POST /v1/chat/completions'] ?? 0
      t.deepEqual(await hear(router.client, content), await hear(direct, content), `after ${after} events`)
      t.is(decode[1].requests()['POST /v1/chat/completions'], before + 1)
      await heal(fleet)
    }
    await settled(fleet)
  })
}
