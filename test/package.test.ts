/** What `npm publish` would send out. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { z } from 'zod'

const root = fileURLToPath(new URL('../..', import.meta.url))
const manifest = z.object({ files: z.array(z.string()), scripts: z.object({ install: z.string() }) })

test('the package holds every script that its installation runs (the one that builds from source was left out)', t => {
  const { files, scripts } = manifest.parse(JSON.parse(readFileSync(`${root}/package.json`, 'utf8')))
  const missing = files.filter(name => !existsSync(`${root}/${name}`))
  t.deepEqual(missing, [])
  const script = /node (\S+)/.exec(scripts.install)?.[1] ?? ''
  const named: string[] = readFileSync(`${root}/${script}`, 'utf8').match(/[\w-]+\.mjs/g) ?? []
  t.true(named.includes('build-native.mjs'))
  for (const path of [script, ...named.map(name => `scripts/${name}`)]) t.true(files.includes(path), path)
})
