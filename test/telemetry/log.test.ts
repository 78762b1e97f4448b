import test from 'ava'
import { createLogger, saidOnce, toText } from '#phyllo/telemetry/log.js'

const capture = (level: 'info' | 'silent' = 'info') => {
  const lines: string[] = []
  const log = createLogger({ level, format: 'json' }, { worker: 1 }, { write: line => void lines.push(line) })
  return { log, lines }
}

test('a line is JSON with time, level by name, fields and message', t => {
  const { log, lines } = capture()
  log.warn({ pod: 'a' }, 'pod is gone')
  log.debug('not at this level')
  t.is(lines.length, 1)
  t.like(JSON.parse(lines[0] ?? ''), { level: 'warn', worker: 1, pod: 'a', msg: 'pod is gone' })
  t.regex(lines[0] ?? '', /"time":"\d{4}-\d\d-\d\dT[\d:.]+Z"/)
})

test('silent says nothing', t => {
  const { log, lines } = capture('silent')
  log.fatal('nobody hears it')
  t.deepEqual(lines, [])
})

test('text for people: clock, level, message, fields, errors indented', t => {
  const { log, lines } = capture()
  log.error({ pod: 'a b', n: 2, err: new Error('boom') }, 'it broke')
  const text = toText(lines[0] ?? '')
  t.regex(text, /^\d\d:\d\d:\d\d\.\d{3} ERROR it broke {2}worker=1 {2}pod="a b" {2}n=2\n {2}Error: boom\n/)
  t.true(text.endsWith('\n'))
})

test('once is once a key, and keys are not remembered without bound', t => {
  const once = saidOnce(2)
  t.deepEqual([once('a'), once('a'), once('b'), once('c'), once('a')], [true, false, true, false, false])
})
