/** What `npm publish` would send out. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
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

test('what the package says leads to documents that are in it', t => {
  const { files } = manifest.parse(JSON.parse(readFileSync(`${root}/package.json`, 'utf8')))
  const isIn = (path: string): boolean => files.some(name => path === name || path.startsWith(`${name}/`))
  const documents = ['README.md', ...readdirSync(`${root}/docs`).map(name => `docs/${name}`)]
  let links = 0
  for (const from of documents.filter(name => name.endsWith('.md') && isIn(name))) {
    for (const [, link = ''] of readFileSync(`${root}/${from}`, 'utf8').matchAll(
      /\]\(([^)#:]+)(?:#[^)]*)?\)/g,
    )) {
      const path = posix.join(posix.dirname(from), link)
      t.true(existsSync(`${root}/${path}`), `${from} names ${path}`)
      if (!path.startsWith('docs/') && !path.startsWith('examples')) continue
      links++
      t.true(isIn(path), `${from} names ${path}`)
    }
  }
  t.true(links > 10)
})
