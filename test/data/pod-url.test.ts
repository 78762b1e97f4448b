import test from 'ava'
import fc from 'fast-check'
import { parsePodUrl, podIdOf } from '#phyllo/data/pod-url.js'

const parsed = (text: string): string => {
  const url = parsePodUrl(text)
  return 'origin' in url ? `${url.origin} ${url.basePath} ${podIdOf(url)}` : `${url.fault} — ${url.fix}`
}

test('origin, base path and id', t => {
  t.is(parsed('http://host:8000'), 'http://host:8000  host:8000')
  t.is(parsed('HTTPS://Host/'), 'https://host  host:443')
  t.is(parsed('http://host'), 'http://host  host:80')
  t.is(parsed('http://[::1]:8000/a/b//'), 'http://[::1]:8000 /a/b [::1]:8000/a/b')
  t.is(parsed('http://10.0.0.1:8000/v10'), 'http://10.0.0.1:8000 /v10 10.0.0.1:8000/v10')
})

test('each fault with its remedy', t => {
  t.is(parsed('host:8000'), 'expected an http(s) URL, got "host:8000" — write http://host:8000')
  t.is(parsed('[::1]:8000'), 'expected an http(s) URL, got "[::1]:8000" — write http://[::1]:8000')
  t.is(parsed('host/base'), 'expected an http(s) URL, got "host/base" — write http://host:8000')
  t.is(parsed('ftp://host'), 'expected an http(s) URL, got "ftp://host" — write http://host:8000')
  t.is(parsed('http:host'), 'expected an http(s) URL, got "http:host" — write http://host:8000')
  t.is(
    parsed('http://host:99999'),
    'expected an http(s) URL, got "http://host:99999" — write http://host:8000',
  )
  t.is(parsed('http://ho st'), 'expected an http(s) URL, got "http://ho st" — write http://host:8000')
  t.is(parsed('http://me:pw@host'), 'a pod URL holds no user name or password — write http://host')
  t.is(parsed('http://host/a?b=c'), 'a pod URL holds no query and no fragment — write http://host/a')
  t.is(
    parsed('http://host/a/v1/models'),
    'a pod URL ends before /v1: requests bring it themselves — write http://host/a',
  )
})

test('it never throws, and what it accepts it accepts again, unchanged', t => {
  const texts = fc.oneof(
    fc.string(),
    fc.webUrl({ withQueryParameters: true }),
    fc.string().map(s => `http://${s}`),
  )
  const property = fc.property(texts, text => {
    const url = parsePodUrl(text)
    if (!('origin' in url)) return url.fault.length > 0
    t.deepEqual(parsePodUrl(url.origin + url.basePath), url)
    return podIdOf(url).length > 0
  })
  fc.assert(property, { numRuns: 2000 })
  t.pass()
})
