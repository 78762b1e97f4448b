import test from 'ava'
import { affinityKey, maxScore, sessionKey } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { affinityKey as affinitySlot, sessionKey as sessionSlot } from '#phyllo/decision/slots.js'
import { fleetOf, single } from './helpers.js'

type Fields = Parameters<ReturnType<typeof fleetOf>['worker']['request']>[0]

function sessionOf(
  fields: Fields,
  headers: string[] = [],
  options: Parameters<typeof sessionKey>[0] = {},
): string | null {
  const { worker } = fleetOf(2)
  const compiled = worker.compile(
    profile('p').prepare(sessionKey(options)).pick(maxScore()).execute(single()),
  )
  const ctx = worker.request(fields, headers)
  compiled.prepare(ctx)
  return ctx.get(sessionSlot)
}

function affinityOf(fields: Fields, headers: string[] = []): string {
  const { worker } = fleetOf(2)
  const compiled = worker.compile(profile('p').prepare(affinityKey()).pick(maxScore()).execute(single()))
  const ctx = worker.request(fields, headers)
  compiled.prepare(ctx)
  return ctx.get(affinitySlot)
}

const all = {
  session_id: 'a',
  session_params: { session_id: 'b' },
  prompt_cache_key: 'c',
  user: 'd',
  user_id: 'e',
}

test('the session is named by the first source there is, headers before the body', t => {
  t.is(sessionOf(all, ['x-user-id', 'u', 'x-session-id', 's']), 's')
  t.is(sessionOf(all, ['x-user-id', 'u']), 'u')
  t.is(sessionOf(all), 'a')
  t.is(sessionOf({ ...all, session_id: undefined }), 'b')
  t.is(sessionOf({ prompt_cache_key: 'c', user: 'd' }), 'c')
  t.is(sessionOf({ user: 'd', user_id: 'e' }), 'd')
  t.is(sessionOf({ user_id: 'e' }), 'e')
  t.is(sessionOf({ prompt: 'hello' }), null)
})

test('per-request ids are no session, or every turn would move', t => {
  t.is(sessionOf({}, ['x-request-id', '1', 'x-correlation-id', '2', 'x-trace-id', '3']), null)
})

test('empty strings, other types and odd session_params are passed over', t => {
  t.is(sessionOf({ session_id: '', user: 'd' }), 'd')
  t.is(sessionOf({ session_id: 7, user: 'd' }), 'd')
  for (const params of [[], 'x', 7, { session_id: 7 }, { other: 'x' }, {}]) {
    t.is(sessionOf({ session_params: params, user: 'd' }), 'd')
  }
  // Too long to be parsed on the event loop for one string.
  t.is(sessionOf({ session_params: { pad: 'x'.repeat(5000), session_id: 'b' }, user: 'd' }), 'd')
  t.is(sessionOf({ session_id: 'a "quoted" ключ' }), 'a "quoted" ключ')
})

test('sources can be chosen; header names in any case', t => {
  t.is(sessionOf(all, ['x-chat', 's'], { headers: ['X-Chat'] }), 's')
  t.is(sessionOf(all, [], { fields: ['user'] }), 'd')
  t.is(sessionOf(all, ['x-session-id', 's'], { headers: [], fields: [] }), null)
})

test('a request without a session makes no ticket', t => {
  const { worker } = fleetOf(2)
  const compiled = worker.compile(profile('p').prepare(sessionKey()).pick(maxScore()).execute(single()))
  const without = worker.request({ prompt: 'x' })
  compiled.prepare(without)
  t.is(worker.tickets, 0)
  const withOne = worker.request({ user: 'x' })
  compiled.prepare(withOne)
  t.is(worker.tickets, 1)
  worker.contexts.give(withOne)
  t.is(worker.tickets, 0)
})

test('affinity: the client’s key, else the beginning of the prompt', t => {
  t.is(affinityOf(all), 'a')
  const system = { role: 'system', content: 'x'.repeat(2000) }
  const first = affinityOf({ messages: [system, { role: 'user', content: 'one' }] })
  t.is(affinityOf({ messages: [system, { role: 'user', content: 'two' }] }), first)
  t.not(affinityOf({ messages: [{ role: 'user', content: 'one' }] }), first)
  t.not(affinityOf({ prompt: 'one' }), affinityOf({ prompt: 'two' }))
  t.not(affinityOf({ input: 'one' }), affinityOf({ input: 'two' }))
  t.is(affinityOf({}), 'prompt:')
})
