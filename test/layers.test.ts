/** The layer cut, checked on the source text: a layer imports from those below it, never from those above. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../', import.meta.url))
const src = join(root, 'src')

/**
 * Folders (and single files) of src from the bottom up; those of one row may not import each other. `cli` and the
 * package's entry come last: they put everything together and nothing builds on them. `config` stands below
 * `simulation`, whose demo is started with a configuration like any user's.
 */
const layers: readonly (readonly string[])[] = [
  ['errors.ts', 'yaml'],
  ['telemetry'],
  ['data'],
  ['decision'],
  ['execution'],
  ['server'],
  ['config'],
  ['simulation'],
  ['cli', 'index.ts'],
]

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .map(file => file.split(sep).join('/'))
const layerOf = (file: string): string => file.split('/')[0] ?? ''
const rankOf = (file: string): number => layers.findIndex(row => row.includes(layerOf(file)))

const code = new Map(files.map(file => [file, withoutComments(readFileSync(join(src, file), 'utf8'))]))

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
}

/** All ways to name a module: import, export from, import(), and the URL of a file that runs on its own. */
const named = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*|\bnew URL\(\s*)(['"])([^'"]+)\1/g

/** `import type` and `export type`: gone at run time. */
const typesOnly = /^(?:import|export) type\b[^'"]*(['"])[^'"]+\1/gm

const namedIn = (text: string): string[] => [...text.matchAll(named)].flatMap(match => match[2] ?? [])

/** The source files that a file names; `atRuntime`: but for their types. */
function importsOf(file: string, atRuntime = false): string[] {
  const text = code.get(file) ?? ''
  return namedIn(atRuntime ? text.replaceAll(typesOnly, '') : text)
    .filter(specifier => specifier.startsWith('.') && specifier.endsWith('.js'))
    .map(specifier => join(dirname(file), specifier).split(sep).join('/').replace(/\.js$/, '.ts'))
}

test('every file of src belongs to a layer, and every relative import is a file of src', t => {
  t.true(files.length > 100, 'the source is where this test looks for it')
  for (const file of files) {
    t.not(rankOf(file), -1, `src/${file} is in no layer`)
    for (const target of importsOf(file)) t.true(code.has(target), `src/${file} imports ${target}`)
  }
})

test('layers import downwards only', t => {
  let seen = 0
  for (const file of files) {
    for (const target of importsOf(file)) {
      if (layerOf(target) === layerOf(file)) continue
      seen++
      t.true(rankOf(target) < rankOf(file), `src/${file} must not import src/${target}`)
    }
  }
  t.true(seen > 100, 'imports between layers are found at all')
})

test('source finds source by relative paths: no import of the package from within', t => {
  for (const file of files) {
    for (const specifier of namedIn(code.get(file) ?? ''))
      t.notRegex(specifier, /^(?:#|phyllo(?:\/|$))/, `src/${file}`)
  }
})

test('only the data layer loads the native core', t => {
  for (const [file, text] of code) {
    if (layerOf(file) !== 'data') t.notRegex(text, /binding\.cjs|\.node['"]/, `src/${file}`)
  }
})

test('plugins do not call each other: none imports another', t => {
  const making = /\b(?:preparer|filter|scorer|picker)\(/
  const plugins = files.filter(
    file => file.startsWith('decision/plugins/') && making.test(code.get(file) ?? ''),
  )
  t.true(plugins.length >= 10, `${plugins.length} plugins`)
  for (const file of plugins) {
    for (const target of importsOf(file)) t.false(plugins.includes(target), `${file} imports ${target}`)
  }
})

test('no file loads itself in a circle', t => {
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    if (at >= 0) return t.fail([...path.slice(at), file].join(' → '))
    if (done.has(file)) return
    for (const target of importsOf(file, true)) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  t.is(done.size, files.length)
})

test('the native core knows nothing of Node: that is the binding', t => {
  const core = join(root, 'native', 'core')
  const sources = readdirSync(core, { recursive: true, encoding: 'utf8' }).filter(file =>
    /\.(?:rs|toml)$/.test(file),
  )
  t.true(sources.length > 20)
  for (const file of sources) {
    t.notRegex(readFileSync(join(core, file), 'utf8'), /\bnapi\b/, relative(root, join(core, file)))
  }
})
