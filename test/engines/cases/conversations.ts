/** Conversations stay with the pod that has their KV cache, and the engine says that it was used. */
import assert from 'node:assert/strict'
import type OpenAI from 'openai'
import { z } from 'zod'
import { VLLM_MODEL } from '../engine.js'
import { BLOCK_SIZE } from '../engines.js'
import { explain } from '../explain.js'
import { type Fleet, type FleetCase, post } from '../fleet.js'
import { agentConversations, type Message, promptsOf } from '../recorded.js'

interface Turn {
  readonly pod: string
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly text: string
}

async function say({ client }: Fleet, messages: readonly Message[], maxTokens: number): Promise<Turn> {
  const body = { model: VLLM_MODEL, messages, max_tokens: maxTokens }
  const { data, response } = await client
    .post<OpenAI.ChatCompletion>('/chat/completions', { body })
    .withResponse()
  const details = data.usage?.prompt_tokens_details
  assert.ok(data.usage && details, 'the engine tells no cached tokens')
  return {
    pod: response.headers.get('x-phyllo-pod') ?? '',
    promptTokens: data.usage.prompt_tokens,
    cachedTokens: details.cached_tokens ?? 0,
    text: data.choices[0]?.message.content ?? '',
  }
}

const wholeBlocks = (tokens: number): number => Math.floor(tokens / BLOCK_SIZE) * BLOCK_SIZE

/** First messages of some 130 tokens that share no block with the others': the topic comes first. */
const opening = (topic: string): Message[] => [
  {
    role: 'system',
    content:
      `${topic} is your only subject. Whatever you are asked, you turn to ${topic} within two sentences and stay ` +
      'there. You write for adults who are new to it, name your sources, never use a list where a paragraph will do, ' +
      'and say plainly when something is a matter of taste.',
  },
  {
    role: 'user',
    content:
      `Tell me what a beginner should know about ${topic}, and where the pitfalls are. I have an hour a week, no ` +
      'equipment at all, and I would rather understand one thing well than ten things badly.',
  },
]

const topics = ['Gardening', 'Chess', 'Astronomy', 'Bread', 'Sailing', 'Bees', 'Typography', 'Glaciers']

async function secondTurns(fleet: Fleet): Promise<string> {
  // All at once, so that load spreads them over both pods.
  const first = await Promise.all(
    topics.map(async topic => {
      const messages = opening(topic)
      return { messages, turn: await say(fleet, messages, 24) }
    }),
  )
  const pods = new Set(first.map(({ turn }) => turn.pod))
  assert.equal(pods.size, 2, `all first turns went to ${[...pods].join()}`)
  let cached = 0
  // One after the other: two requests that run on a pod may outweigh a hit of 130 tokens, and rightly so.
  for (const { messages, turn: before } of first) {
    const answered = { role: 'assistant', content: before.text }
    const more = { role: 'user', content: 'Go on, with an example.' }
    const turn = await say(fleet, [...messages, answered, more], 8)
    assert.equal(turn.pod, before.pod)
    assert.ok(turn.cachedTokens > 0)
    assert.equal(turn.cachedTokens % BLOCK_SIZE, 0)
    // The whole first prompt is a prefix of the second.
    const least = wholeBlocks(before.promptTokens)
    assert.ok(turn.cachedTokens >= least, `${turn.cachedTokens} tokens cached of ${before.promptTokens} seen`)
    cached += turn.cachedTokens
  }
  return `${topics.length} conversations on ${pods.size} pods, ${cached} cached tokens`
}

const anthropicAnswer = z.object({ content: z.array(z.looseObject({ type: z.string() })) })

/** Anthropic's API: whatever the router knows of its tokens, the conversation must stay where it is. */
async function anthropicTurns({ router }: Fleet): Promise<string> {
  const speak = async (topic: string, more: readonly Message[]) => {
    const [system, user] = opening(topic)
    const messages = [user, ...more]
    const body = { model: VLLM_MODEL, system: system?.content, messages, max_tokens: 16 }
    const answer = await post(router.url, '/v1/messages', body)
    assert.equal(answer.status, 200, answer.text)
    return { topic, pod: answer.pod, content: anthropicAnswer.parse(JSON.parse(answer.text)).content }
  }
  const subjects = ['Falconry', 'Bridges', 'Tides', 'Moss']
  const first = await Promise.all(subjects.map(topic => speak(topic, [])))
  assert.equal(new Set(first.map(({ pod }) => pod)).size, 2)
  // One after the other, as above.
  for (const { topic, pod, content } of first) {
    const answered = { role: 'assistant', content }
    const second = await speak(topic, [answered, { role: 'user', content: 'Go on, with an example.' }])
    assert.equal(second.pod, pod, topic)
  }
  return `${subjects.length} conversations on 2 pods`
}

const show = (value: unknown): string => JSON.stringify(value)

/** Leaves room for the answer in a context of 4,096. */
const MAX_PROMPT = 3_900
const CONVERSATIONS = 6
const TURNS = 4

async function recorded(fleet: Fleet): Promise<string> {
  let [turns, agreed, predicted, reported, prompts] = [0, 0, 0, 0, 0]
  const moved: string[] = []
  const off: string[] = []
  for (const conversation of agentConversations().reverse().slice(0, CONVERSATIONS)) {
    let pod: string | undefined
    for (const messages of promptsOf(conversation).slice(0, TURNS)) {
      const body = { model: VLLM_MODEL, messages, max_tokens: 8 }
      const expected = await explain(fleet.router, '/v1/chat/completions', body)
      if (expected.promptTokens > MAX_PROMPT) break
      const turn = await say(fleet, messages, 8)
      assert.equal(turn.promptTokens, expected.promptTokens, conversation.id)
      const { [turn.pod]: cached = 0, ...elsewhere } = expected.cachedTokens
      // Where several pods have as much of it, any of them is right.
      assert.ok(
        Object.values(elsewhere).every(tokens => tokens <= cached),
        `${turn.pod}: ${show(expected)}`,
      )
      if (pod !== undefined && turn.pod !== pod) moved.push(conversation.id)
      pod = turn.pod
      turns++
      if (turn.cachedTokens === cached) agreed++
      else off.push(`${cached} ≠ ${turn.cachedTokens} of ${turn.promptTokens}`)
      predicted += cached
      reported += turn.cachedTokens
      prompts += turn.promptTokens
    }
  }
  assert.deepEqual(moved, [], 'conversations that changed pods')
  assert.ok(reported > 0 && turns > CONVERSATIONS)
  // Nothing is evicted here, and the answers recorded are not the ones given, so all that an engine has cached of a
  // prompt is what the router sent there before: the prediction is exact but for requests that are still under way.
  assert.ok(agreed / turns > 0.9, `predicted ≠ reported cached tokens: ${off.join('; ')}`)
  const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`
  return `${turns} turns, predicted = reported in ${share(agreed, turns)} (${predicted} and ${reported} tokens, ${share(reported, prompts)} of all)`
}

export const conversationCases: readonly FleetCase[] = [
  { name: 'the second turn lands on the pod of the first and finds its cache', run: secondTurns },
  { name: 'the same by /v1/messages', run: anthropicTurns },
  { name: 'recorded conversations: predicted cached tokens are those reported', run: recorded },
]
