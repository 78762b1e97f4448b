/** docs/policies.md says of each policy, in a few lines, what it does and where it is from; with the YAML that is it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { profileYaml, shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { plugins } from '#phyllo/decision/registry.js'
import { single } from './helpers.js'

const page = readFileSync(fileURLToPath(new URL('../../../docs/policies.md', import.meta.url)), 'utf8')

test('each shipped profile: at most five lines with a source, then its YAML', t => {
  for (const profile of shippedProfiles(single())) {
    const yaml = `\`\`\`yaml\n${profileYaml(profile)}\`\`\`\n`
    const at = page.indexOf(yaml)
    t.true(at > 0, profile.name)
    const text = page.slice(page.lastIndexOf('\n## ', at), at)
    const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('## '))
    t.true(lines.length <= 5, text)
    t.regex(text, /^Source: ./m)
  }
})

test('each plugin is listed with its summary', t => {
  for (const stage of ['prepare', 'filter', 'score', 'pick'] as const) {
    for (const [name, { summary }] of plugins[stage]) {
      t.true(page.includes(`| \`${name}\` | ${stage} | ${summary.replace(/\.$/, '')} |`), name)
    }
  }
})
