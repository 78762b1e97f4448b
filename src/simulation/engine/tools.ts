/** Deterministic tool calls: which tool, and arguments that fit its schema. */
import { type Random, seededRandom, textSeed } from './random.js'

export interface ToolSpec {
  readonly name: string
  /** JSON Schema of the arguments. */
  readonly parameters: unknown
}

/** What the request says about calling tools. */
export type ToolChoice = 'none' | 'auto' | 'required' | { readonly name: string }

export interface ToolCall {
  readonly name: string
  /** JSON text. */
  readonly arguments: string
  /** The request named the tool, so the model had no say. */
  readonly isNamed: boolean
}

/** The call to make, if any: the named tool, the first one when required, or one whose name the last message holds. */
export function chooseTool(
  tools: readonly ToolSpec[],
  choice: ToolChoice,
  lastMessage: string,
): ToolCall | null {
  if (choice === 'none' || tools.length === 0) return null
  const isNamed = typeof choice === 'object'
  const tool = isNamed
    ? tools.find(candidate => candidate.name === choice.name)
    : (tools.find(candidate => lastMessage.includes(candidate.name)) ??
      (choice === 'required' ? tools[0] : undefined))
  if (tool === undefined) return null
  const random = seededRandom(textSeed(tool.name + lastMessage))
  const value = sampleOf(tool.parameters, random, 0)
  return { name: tool.name, arguments: JSON.stringify(value ?? {}), isNamed }
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined

/** Deeper than any real tool; ends schemas that refer to themselves. */
const MAX_DEPTH = 8

/** A value that a JSON Schema accepts, for the keywords that tool schemas use. */
function sampleOf(schema: unknown, random: Random, depth: number): unknown {
  if (depth > MAX_DEPTH) return null
  const choices = member(schema, 'enum')
  if (Array.isArray(choices) && choices.length > 0) return choices[Math.floor(random() * choices.length)]
  const declared = member(schema, 'type')
  const type: unknown = Array.isArray(declared) ? declared[0] : declared
  if (type === 'string') return ['leaf', 'stem', 'root', 'spiral'][Math.floor(random() * 4)]
  if (type === 'integer' || type === 'number')
    return Number(member(schema, 'minimum') ?? Math.floor(random() * 10))
  if (type === 'boolean') return random() < 0.5
  if (type === 'array') return [sampleOf(member(schema, 'items'), random, depth + 1)]
  if (type === 'null') return null
  const properties = member(schema, 'properties')
  if (typeof properties !== 'object' || properties === null) return {}
  const required = member(schema, 'required')
  const names = Object.keys(properties).filter(name => !Array.isArray(required) || required.includes(name))
  return Object.fromEntries(names.map(name => [name, sampleOf(member(properties, name), random, depth + 1)]))
}
