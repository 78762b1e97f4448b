/** The decision log in the configuration: what is read, and what `phyllo check` refuses. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'

const dir = mkdtempSync(join(tmpdir(), 'decision-config-'))
test.after.always(() => rmSync(dir, { recursive: true, force: true }))
writeFileSync(join(dir, 'file'), '')

const parse = (yaml: string) => parseConfig(yaml, { file: 'f', env: {}, baseDir: dir })
const issues = (yaml: string): string => {
  const result = parse(yaml)
  return result.ok ? 'fine' : formatIssues(result.issues)
}

test('none unless asked for; defaults; the path is relative to the file', t => {
  const plain = parse('')
  t.is(plain.ok && plain.config.decisionLog, undefined)
  const set = parse('decisionLog: { path: logs/d.jsonl }')
  t.deepEqual(set.ok && set.config.decisionLog, {
    path: join(dir, 'logs/d.jsonl'),
    rate: 0.01,
    maxBytes: 67_108_864,
    files: 5,
    prompt: false,
  })
})

const refused: Record<string, { yaml: string; says: RegExp }> = {
  'no path': { yaml: 'decisionLog: { rate: 1 }', says: /decisionLog\.path {2}is missing/ },
  'a rate above 1': { yaml: 'decisionLog: { path: d, rate: 5 }', says: /decisionLog\.rate.*1/ },
  'a negative rate': { yaml: 'decisionLog: { path: d, rate: -0.1 }', says: /decisionLog\.rate.*0/ },
  'no file kept': { yaml: 'decisionLog: { path: d, files: 0 }', says: /decisionLog\.files.*1/ },
  'tiny files': { yaml: 'decisionLog: { path: d, maxBytes: 10 }', says: /decisionLog\.maxBytes.*65536/ },
  'an unknown key': { yaml: 'decisionLog: { path: d, sample: 1 }', says: /decisionLog\.sample/ },
  'a directory': { yaml: 'decisionLog: { path: . }', says: /"\." is a directory .* — name a file in it/ },
  'below a file': {
    yaml: 'decisionLog: { path: file/d }',
    says: /lies below a file .* — name a file in a directory/,
  },
}

for (const [name, { yaml, says }] of Object.entries(refused)) {
  test(`refused: ${name}`, t => {
    const said = issues(yaml)
    t.regex(said, says)
    t.regex(said, /^f:1:/)
  })
}
