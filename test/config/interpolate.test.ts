// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
import test from 'ava'
import fc from 'fast-check'
import { interpolate } from '#phyllo/yaml/interpolate.js'

const env = { A: 'one', EMPTY: '', _x9: 'low' }
const text = (from: string): string => {
  const result = interpolate(from, env)
  return 'text' in result ? result.text : `${result.offset}: ${result.fault}`
}

test('references, fallbacks and escapes', t => {
  t.is(text('${A}'), 'one')
  t.is(text('a-${A}-${_x9}.'), 'a-one-low.')
  t.is(text('${EMPTY}'), '')
  t.is(text('${EMPTY:-two}'), 'two')
  t.is(text('${NONE:-}'), '')
  t.is(text('${NONE:-http://[::1]:80/?a=b}'), 'http://[::1]:80/?a=b')
  t.is(text('$${A} costs $5 and ${A}'), '${A} costs $5 and one')
})

test('faults say where they are', t => {
  t.is(text('ab${NONE}'), '2: the environment variable NONE is not set')
  t.is(text('${A}${1x}'), '4: "${1x}" is no reference to an environment variable')
  t.is(text('${A'), '0: "${A" is no reference to an environment variable')
  t.is(text('${}'), '0: "${}" is no reference to an environment variable')
})

test('names of the prototype are no variables', t => {
  t.is(text('${constructor}'), '0: the environment variable constructor is not set')
})

test('text without ${ stays as it is, and escaped text comes back', t => {
  const plain = fc.string().filter(value => !value.includes('${'))
  fc.assert(fc.property(plain, value => text(value) === value))
  const any = fc.string({ unit: fc.constantFrom('$', '{', '}', 'A', ' ') })
  const escaped = fc.property(any, value => {
    // Escaping every "${" of a text whose dollars stand alone gives the text back.
    const single = value.replaceAll(/\$+/g, '$')
    t.is(text(single.replaceAll('${', () => '$${')), single)
  })
  fc.assert(escaped)
})
