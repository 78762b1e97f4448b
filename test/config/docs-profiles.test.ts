/** What docs/disaggregation.md gives to copy loads. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { parse } from 'yaml'
import { checkProfiles } from '#phyllo/config/profiles.js'

const page = readFileSync(fileURLToPath(new URL('../../../docs/disaggregation.md', import.meta.url)), 'utf8')

test('the profiles of the adaptive threshold are sound', t => {
  const [, yaml = ''] = /```yaml\n(profiles:[\s\S]*?)```/.exec(page) ?? []
  t.true(yaml.includes('decode-apart'))
  t.deepEqual(checkProfiles(parse(yaml)), [])
})
