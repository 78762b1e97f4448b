/** Pods from DNS, asked of a server of the test's own that answers, fails, denies, truncates and keeps silent. */
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { type DnsDiscoveryOptions, DnsSource, EMPTY_ANSWERS } from '#phyllo/data/discovery/dns.js'
import { until } from '../../server/router-kit.js'
import { type Behaviour, type DnsRecord, dnsServerFor } from './dns-server.js'

const base: Omit<DnsDiscoveryOptions, 'servers'> = {
  name: 'engines.test',
  type: 'A',
  port: 8000,
  scheme: 'http',
  intervalMs: 1,
  labels: {},
  maxInflight: 0,
  dataParallel: 1,
}

const a = (address: string, ttl = 60): DnsRecord => ({ type: 'A', address, ttl })
const records = (...list: readonly DnsRecord[]): Behaviour => ({ kind: 'records', records: list })

/** Asks once with each behaviour in turn, and gives what the source told each time: ids of pods, or a failure. */
async function play(
  t: ExecutionContext,
  behaviours: readonly Behaviour[],
  options: Partial<DnsDiscoveryOptions> = {},
): Promise<string[]> {
  const server = await dnsServerFor(t)
  const source = new DnsSource({ ...base, ...options, servers: [server.address] })
  const told: string[] = []
  const next = (what: string) => {
    told.push(what)
    const behaviour = behaviours[told.length]
    if (behaviour === undefined) source.stop()
    else server.behaviour = behaviour
  }
  server.behaviour = behaviours[0] ?? { kind: 'empty' }
  await source.start({
    found: pods => next(pods.map(({ id }) => id ?? '').join()),
    failed: why => next(`failed: ${why}`),
  })
  t.teardown(() => source.stop())
  // Questions without an answer take seconds.
  for (let i = 0; i < 6 && told.length < behaviours.length; i++)
    await until(() => told.length >= behaviours.length, 'all was asked').catch(() => undefined)
  return told
}

test('addresses are pods at the port that is configured, with what else pods are given', async t => {
  const server = await dnsServerFor(t)
  server.behaviour = records(a('10.0.0.1'), a('10.0.0.2'))
  const traits = {
    ...{ models: ['m'], labels: { zone: 'x' }, maxInflight: 3, dataParallel: 2, variant: 'v' },
    role: 'decode' as const,
    kvTransfer: { connector: 'sglang' as const, bootstrapPort: 9000 },
  }
  const source = new DnsSource({ ...base, ...traits, servers: [server.address] })
  t.teardown(() => source.stop())
  const found: unknown[] = []
  await source.start({ found: pods => found.push(...pods), failed: why => t.fail(why) })
  t.deepEqual(found.slice(0, 2), [
    { url: 'http://10.0.0.1:8000', id: '10.0.0.1:8000', ...traits },
    { url: 'http://10.0.0.2:8000', id: '10.0.0.2:8000', ...traits },
  ])
  t.is(server.questions[0], 'A engines.test')
})

test('IPv6 addresses stand in brackets', async t => {
  const answer = records({ type: 'AAAA', address: 'fd00::1:2', ttl: 60 })
  t.deepEqual(await play(t, [answer], { type: 'AAAA', scheme: 'https' }), ['[fd00::1:2]:8000'])
})

test('SRV records bring host and port; a target of "." is none', async t => {
  const srv = (target: string, port: number): DnsRecord => ({ type: 'SRV', target, port, ttl: 60 })
  const told = await play(
    t,
    [
      records(srv('E-1.engines.test', 8001), srv('e-2.engines.test', 8002), srv('e-2.engines.test', 8003)),
      records(srv('.', 9)),
      records(srv('e-1.engines.test', 8001), srv('e-1.engines.test', 8001)),
    ],
    { type: 'SRV', name: '_http._tcp.engines.test' },
  )
  t.deepEqual(told, [
    'e-1.engines.test:8001,e-2.engines.test:8002,e-2.engines.test:8003',
    'failed: DNS SRV _http._tcp.engines.test has no records, which counts after 3 answers in a row',
    'e-1.engines.test:8001',
  ])
})

const address = fc.integer({ min: 1, max: 5 }).map(n => a(`10.0.0.${n}`))
const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .uniqueArray(address, { minLength: 1, selector: ({ type, ...rest }) => JSON.stringify([type, rest]) })
      .map(list => records(...list)),
  },
  { weight: 4, arbitrary: fc.constant<Behaviour>({ kind: 'empty' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Behaviour>({ kind: 'nxdomain' }, { kind: 'servfail' }, { kind: 'refused' }),
  },
)

test('whatever is answered in turn: answers count, failures do not, emptiness counts when it stays', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(behaviour, { minLength: 1, maxLength: 14 }), async behaviours => {
      const told = await play(t, behaviours)
      let empties = 0
      let hadRecords = false
      const expected = behaviours.map(({ kind, ...rest }) => {
        if (kind === 'records') {
          hadRecords = true
          empties = 0
          const list = 'records' in rest ? rest.records : []
          return list.map(record => `${'address' in record ? record.address : ''}:8000`).join()
        }
        // A failure neither is an empty answer nor makes one of no account.
        if (kind === 'empty') empties += 1
        return kind === 'empty' && (!hadRecords || empties >= EMPTY_ANSWERS) ? '' : 'failed'
      })
      t.deepEqual(
        told.map(what => (what.startsWith('failed') ? 'failed' : sortedList(what))),
        expected.map(sortedList),
      )
    }),
    { numRuns: 60 },
  )
})

/** Resolvers may turn the order of addresses. */
const sortedList = (what: string): string => what.split(',').sort().join()

test('a truncated answer is asked for again over TCP, and half of it is never taken', async t => {
  const many = Array.from({ length: 200 }, (_, i) => a(`10.0.${i >> 8}.${i & 255}`))
  const told = await play(t, [
    records(a('10.9.9.9')),
    { kind: 'truncated', records: many, tcp: true },
    { kind: 'truncated', records: many.slice(0, 3), tcp: false },
    records(a('10.9.9.9')),
  ])
  t.is(told[0], '10.9.9.9:8000')
  t.is(told[1]?.split(',').length, 200)
  t.regex(told[2] ?? '', /^failed: DNS A engines\.test:8000 is not answered: /)
  t.is(told[3], '10.9.9.9:8000')
})

test('each failure says what it was', async t => {
  const told = await play(t, [
    { kind: 'nxdomain' },
    { kind: 'servfail' },
    { kind: 'refused' },
    { kind: 'garbage' },
    { kind: 'silent' },
    records(a('10.0.0.1')),
  ])
  const reasons = told.map(what => what.replace('failed: DNS A engines.test:8000 is not answered: ', ''))
  t.deepEqual(reasons, [
    'there is no such name (NXDOMAIN)',
    'the name server failed (SERVFAIL)',
    'the name server refused',
    'the answer could not be read',
    'no name server answered in time',
    '10.0.0.1:8000',
  ])
})

test('a name server that is not there at all', async t => {
  const source = new DnsSource({ ...base, servers: ['127.0.0.1:1'] })
  t.teardown(() => source.stop())
  const failures: string[] = []
  await source.start({ found: () => t.fail(), failed: why => failures.push(why) })
  t.regex(failures[0] ?? '', /is not answered: no name server (?:could be reached|answered in time)$/)
})

test('a TTL shorter than the interval brings the next question forward, a longer one does not delay it', async t => {
  const server = await dnsServerFor(t)
  server.behaviour = records(a('10.0.0.1', 1), a('10.0.0.2', 3600))
  // Without the TTL the second question would come in an hour.
  const short = new DnsSource({ ...base, intervalMs: 3_600_000, servers: [server.address] })
  t.teardown(() => short.stop())
  await short.start({ found() {}, failed: why => t.fail(why) })
  t.is(server.questions.length, 1)
  await until(() => server.questions.length > 1, 'it asks again')
  short.stop()

  server.behaviour = records(a('10.0.0.1', 3600))
  const before = server.questions.length
  const long = new DnsSource({ ...base, intervalMs: 10, servers: [server.address] })
  t.teardown(() => long.stop())
  await long.start({ found() {}, failed: why => t.fail(why) })
  await until(() => server.questions.length > before + 2, 'it asks again')
})

test('stopped in the middle of a question, it says nothing more', async t => {
  const server = await dnsServerFor(t)
  server.behaviour = { kind: 'silent' }
  const source = new DnsSource({ ...base, servers: [server.address] })
  const events: string[] = []
  const started = source.start({ found: () => events.push('found'), failed: why => events.push(why) })
  await until(() => server.questions.length > 0, 'it asks')
  source.stop()
  await started
  t.deepEqual(events, [])
})
