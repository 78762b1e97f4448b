/** What the log says of plugins that fail. */
import test from 'ava'
import { logPluginFailure } from '#phyllo/server/plugin-failures.js'
import { createLogger, saidOnce } from '#phyllo/telemetry/log.js'

function capture() {
  const lines: string[] = []
  const log = createLogger({ level: 'info', format: 'json' }, {}, { write: line => void lines.push(line) })
  const once = saidOnce()
  const tell = (error: unknown, plugin = 'mine') => logPluginFailure(log, once, 'p', plugin, error)
  return { lines, tell }
}

test('each kind of failure of each plugin is told once, by name', t => {
  const { lines, tell } = capture()
  for (let i = 0; i < 3; i++) tell(new Error('boom'))
  tell(new Error('another'))
  tell(new Error('boom'), 'other')
  t.is(lines.length, 3)
  t.regex(lines[0] ?? '', /plugin 'mine' of profile 'p' failed, and requests are decided without it: boom/)
})

test('whatever is thrown is told, and telling it throws nothing', t => {
  const { lines, tell } = capture()
  const unreadable = new Error('x')
  Object.defineProperty(unreadable, 'message', {
    get() {
      throw new Error('not to be read')
    },
  })
  const numbered = Object.assign(new Error('x'), { message: 42 })
  const thrown = [undefined, null, 'text', 7n, Symbol('s'), {}, Object.create(null), numbered, unreadable]
  for (const [i, error] of thrown.entries()) t.notThrows(() => tell(error, `plugin-${i}`), String(i))
  t.is(lines.length, thrown.length)
})
