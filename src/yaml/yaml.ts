// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/**
 * YAML text to plain data, with the place of every key and value. One walk over the parsed document resolves anchors,
 * merge keys and environment variables and notes the positions by path, so that a later complaint about `pods[1].url`
 * can name the line that it was written in, even where an anchor brought it there.
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  Scalar,
  visit,
  type YAMLError,
} from 'yaml'
import { type Environment, interpolate } from './interpolate.js'
import { type ConfigPath, type Issue, pathText } from './issue.js'

/** Line and column of a path, from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export interface YamlData {
  /** Plain data; undefined for an empty file. With issues, it has gaps where these are. */
  readonly value: unknown
  /** There is no data to go on with: no YAML, or too much of it. */
  readonly broken: boolean
  readonly issues: readonly Issue[]
  /** Where a path's key is (a list item's: the item), or the key of its nearest parent that exists. */
  keyPlace(path: ConfigPath): Place
  /** Where a path's value is, or the key of its nearest parent that exists. */
  valuePlace(path: ConfigPath): Place
}

/**
 * Nodes that one file may grow to once its anchors are resolved. A fleet of 1,024 pods written out with labels is
 * about 20,000; a "billion laughs" file stops here.
 */
const MAX_NODES = 200_000
/** Nesting; the schema needs nine levels. It keeps a chain of anchors from overflowing the stack. */
const MAX_DEPTH = 100

interface Spot {
  readonly key: number
  readonly value: number
}

export function readYaml(text: string, file: string, env: Environment): YamlData {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    merge: true,
    logLevel: 'error',
  })
  const walk = new Walk(file, lines, env)
  for (const { code, pos, message } of tellable([...document.errors, ...document.warnings])) {
    const isReference = code === 'UNEXPECTED_TOKEN' && text.startsWith('${', pos[0] - 1)
    const fix = isReference ? 'put quotes around a ${…} that stands within { } or [ ]' : fixes[code]
    walk.complain(pos[0], [], code === 'RESOURCE_EXHAUSTION' ? 'nested too deeply' : firstLine(message), fix)
  }
  const isYaml = walk.issues.length === 0
  const value = isYaml ? walk.run(document) : undefined
  return {
    value,
    broken: !isYaml || walk.overflowed,
    issues: walk.issues,
    keyPlace: path => walk.place(path, 'key'),
    valuePlace: path => walk.place(path, 'value'),
  }
}

/** Faults after which the parser still knows where it is; all others are mostly echoes of the first. */
const independent = new Set(['DUPLICATE_KEY', 'TAG_RESOLVE_FAILED'])

function tellable(faults: readonly YAMLError[]): YAMLError[] {
  const first = faults.find(({ code }) => !independent.has(code))
  return faults.filter(fault => fault === first || independent.has(fault.code))
}

const fixes: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'keep one of them',
  TAB_AS_INDENT: 'indent with spaces',
  MULTIPLE_DOCS: 'keep one document a file',
  TAG_RESOLVE_FAILED: 'leave the tag out',
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? text

class Walk {
  readonly issues: Issue[] = []
  readonly #spots = new Map<string, Spot>()
  /** Nodes being resolved, to notice an anchor that contains itself. */
  readonly #open = new Set<Node>()
  readonly #targets = new Map<Alias, Node | undefined>()
  #nodes = 0

  constructor(
    readonly file: string,
    readonly lines: LineCounter,
    readonly env: Environment,
  ) {}

  place(path: ConfigPath, part: keyof Spot): Place {
    for (let length = path.length; length >= 0; length--) {
      const spot = this.#spots.get(pathText(path.slice(0, length)))
      if (spot === undefined) continue
      return this.#position(length === path.length ? spot[part] : spot.key)
    }
    return { line: 1, column: 1 }
  }

  complain(offset: number, path: ConfigPath, message: string, fix?: string): void {
    const found = { file: this.file, ...this.#position(offset), path: pathText(path), message }
    this.issues.push(fix === undefined ? found : { ...found, fix })
  }

  get overflowed(): boolean {
    return this.#nodes > MAX_NODES
  }

  run(document: Document): unknown {
    // An alias means the last anchor of its name *before* it, so they are paired in document order.
    const anchors = new Map<string, Node>()
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) this.#targets.set(node, anchors.get(node.source))
        else if ('anchor' in node && node.anchor !== undefined) anchors.set(node.anchor, node)
      },
    })
    return this.#resolve(document.contents, [], 0)
  }

  /** The plain value of a node; `key` is the offset of its key. */
  #resolve(node: unknown, path: ConfigPath, key: number): unknown {
    if (!isNode(node) || this.#isTooMuch(path, key)) return undefined
    const value = node.range?.[0] ?? key
    this.#spots.set(pathText(path), { key, value })
    if (isAlias(node)) return this.#alias(node, path, value)
    if (isScalar(node)) return this.#scalar(node, path, value)
    this.#open.add(node)
    const resolved = isMap(node)
      ? this.#map(node.items, path)
      : isSeq(node)
        ? this.#list(node.items, path, value)
        : undefined
    this.#open.delete(node)
    return resolved
  }

  /** Counts a node, and complains once when there are too many or they are nested too deeply. */
  #isTooMuch(path: ConfigPath, offset: number): boolean {
    if (this.overflowed) return true
    this.#nodes += 1
    if (this.overflowed)
      this.complain(offset, path, `more than ${MAX_NODES} values once anchors are resolved`)
    else if (this.#open.size > MAX_DEPTH) {
      this.complain(offset, path.slice(0, 8), `nested more than ${MAX_DEPTH} levels deep`)
      this.#nodes = MAX_NODES + 1
    }
    return this.overflowed
  }

  #alias(alias: Alias, path: ConfigPath, offset: number): unknown {
    const target = this.#targets.get(alias)
    if (target === undefined) this.complain(offset, path, `there is no anchor &${alias.source} before this`)
    else if (this.#open.has(target))
      this.complain(offset, path, `the anchor &${alias.source} contains itself`)
    else return this.#resolve(target, path, offset)
    return undefined
  }

  #list(items: readonly unknown[], path: ConfigPath, offset: number): unknown[] {
    return items.map((item, index) => {
      return this.#resolve(item, [...path, index], isNode(item) ? (item.range?.[0] ?? offset) : offset)
    })
  }

  #map(items: readonly { key: unknown; value: unknown }[], path: ConfigPath): Record<string, unknown> {
    const own = items.filter(({ key }) => !isMergeKey(key))
    const merged = items.filter(({ key }) => isMergeKey(key))
    const out: Record<string, unknown> = {}
    // What is merged comes first, so that a map's own keys and their places take precedence. Of several merged maps
    // the first one wins, by YAML's rule.
    for (const { key, value } of merged) this.#merge(value, path, offsetOf(key), out)
    for (const { key, value } of own) {
      const offset = offsetOf(key)
      if (!isScalar(key))
        this.complain(offset, path, 'a key must be a plain word', 'leave out the brackets or braces')
      else this.#set(out, keyText(key), value, path, offset)
    }
    return out
  }

  #set(out: Record<string, unknown>, key: string, value: unknown, path: ConfigPath, offset: number): void {
    // Assigning it would change the object's prototype.
    if (key === '__proto__') this.complain(offset, path, '__proto__ cannot be a key')
    // `pods:` with everything below commented out is null in YAML; it means that the default holds.
    else out[key] = this.#resolve(value, [...path, key], offset) ?? undefined
  }

  #merge(node: unknown, path: ConfigPath, offset: number, out: Record<string, unknown>): void {
    if (this.#isTooMuch(path, offset)) return
    const source = isAlias(node) ? this.#targets.get(node) : node
    if (isSeq(source)) {
      for (const item of [...source.items].reverse()) this.#merge(item, path, offset, out)
    } else if (isMap(source) && !this.#open.has(source)) {
      this.#open.add(source)
      Object.assign(out, this.#map(source.items, path))
      this.#open.delete(source)
    } else this.complain(offset, path, '<< takes the alias of a map, or a list of such', 'write <<: *anchor')
  }

  #scalar(node: Scalar, path: ConfigPath, offset: number): unknown {
    const { value } = node
    if (typeof value !== 'string') return value
    const result = interpolate(value, this.env)
    if ('fault' in result) {
      // Inside a one-line value the offset is exact; a folded one has lost its line breaks.
      const inLine = node.type === Scalar.PLAIN ? result.offset : 0
      this.complain(offset + inLine, path, result.fault, result.fix)
      return undefined
    }
    // `port: ${PORT}` means a number: what a variable brought into an unquoted value is read as if it stood there.
    const isPlain = node.type === Scalar.PLAIN && result.text !== value
    return isPlain ? plainScalar(result.text) : result.text
  }

  #position(offset: number): Place {
    const { line, col } = this.lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
}

/** YAML's own reading of an unquoted scalar, of which only the kinds that the schema knows matter. */
function plainScalar(text: string): unknown {
  if (/^(?:|~|null)$/i.test(text)) return null
  if (/^(?:true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  return /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?$/i.test(text) ? Number(text) : text
}

const isMergeKey = (key: unknown): boolean =>
  isScalar(key) && key.type === Scalar.PLAIN && key.source === '<<'
const keyText = (key: Scalar): string =>
  typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
const offsetOf = (key: unknown): number => (isNode(key) ? (key.range?.[0] ?? 0) : 0)
