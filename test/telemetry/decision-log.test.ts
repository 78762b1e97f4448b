/** The file of the decision log and the way to it: rotation, disks that refuse, bounded memory, counts. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  createDecisionCounts,
  DecisionCounts,
  type LineBatch,
  LineBatcher,
} from '#phyllo/telemetry/decision-log/channel.js'
import { RotatingFile } from '#phyllo/telemetry/decision-log/rotating-file.js'
import { DecisionWriter } from '#phyllo/telemetry/decision-log/writer.js'

function folder(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'decisions-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

const counts = (): DecisionCounts => new DecisionCounts(createDecisionCounts())

/** A log that keeps what it is told. */
function listener() {
  const said: string[] = []
  return { said, warn: (text: string) => said.push(text), info: (text: string) => said.push(text) }
}

function batch(counted: DecisionCounts, lines: readonly string[]): LineBatch {
  const text = `${lines.join('\n')}\n`
  if (!counted.admit(text.length)) throw new Error('no room')
  return { text, lines: lines.length, bytes: text.length }
}

test('a full file makes room: as many are kept as asked for, no line is lost before, none is cut', async t => {
  const path = join(folder(t), 'sub', 'd.jsonl')
  const file = new RotatingFile({ path, maxBytes: 100, files: 3 })
  const lines = Array.from({ length: 30 }, (_, i) => `${String(i).padStart(3, '0')} ${'x'.repeat(20)}\n`)
  for (const line of lines) await file.append(line)
  await file.close()
  t.deepEqual(readdirSync(join(path, '..')).sort(), ['d.jsonl', 'd.jsonl.1', 'd.jsonl.2'])
  const kept = [`${path}.2`, `${path}.1`, path].map(name => readFileSync(name, 'utf8'))
  for (const text of kept) t.true(text.length <= 100)
  t.is(kept.join(''), lines.slice(-10).join(''), 'the last ones, in order: 4 + 4 + 2')
  t.is(statSync(path).mode & 0o777, 0o600)
})

test('one file kept is started anew', async t => {
  const path = join(folder(t), 'd.jsonl')
  const file = new RotatingFile({ path, maxBytes: 10, files: 1 })
  for (const text of ['aaaaaaa\n', 'bbbbbbb\n']) await file.append(text)
  await file.close()
  t.deepEqual(readdirSync(join(path, '..')), ['d.jsonl'])
  t.is(readFileSync(path, 'utf8'), 'bbbbbbb\n')
})

test('a file that is there is gone on with, from the beginning of a line', async t => {
  const path = join(folder(t), 'd.jsonl')
  writeFileSync(path, 'whole\ncut o')
  const file = new RotatingFile({ path, maxBytes: 1000, files: 2 })
  await file.append('new\n')
  await file.close()
  t.is(readFileSync(path, 'utf8'), 'whole\ncut o\nnew\n')
})

test('a file that is there and full makes room at once', async t => {
  const path = join(folder(t), 'd.jsonl')
  writeFileSync(path, `${'x'.repeat(99)}\n`)
  const file = new RotatingFile({ path, maxBytes: 100, files: 2 })
  await file.append('new\n')
  await file.close()
  t.is(readFileSync(path, 'utf8'), 'new\n')
  t.is(readFileSync(`${path}.1`, 'utf8').length, 100)
})

test('a path that fails: said once, counted, memory given back, and written again when it can be', async t => {
  const dir = folder(t)
  const path = join(dir, 'd.jsonl')
  // A directory where the file should be refuses every user, the superuser too.
  mkdirSync(path)
  const counted = counts()
  const log = listener()
  const writer = new DecisionWriter({ path, maxBytes: 1000, files: 2 }, counted, log)
  for (let i = 0; i < 5; i++) writer.write(batch(counted, ['one', 'two']))
  await writer.close()
  t.is(counted.dropped('not_written'), 10)
  t.is(counted.written, 0)
  t.is(counted.pendingBytes, 0)
  t.is(log.said.length, 1)
  t.regex(log.said[0] ?? '', /d\.jsonl.*EISDIR.*requests are served all the same/)

  rmSync(path, { recursive: true })
  writer.write(batch(counted, ['three']))
  await writer.close()
  t.is(readFileSync(path, 'utf8'), 'three\n')
  t.is(counted.written, 1)
  t.regex(log.said[1] ?? '', /again/)
})

test('a disk nearly full takes a batch now and then: “written again” stayed the last word while lines were lost', async t => {
  const dir = folder(t)
  const path = join(dir, 'd.jsonl')
  const counted = counts()
  const log = listener()
  let now = 0
  const writer = new DecisionWriter({ path, maxBytes: 1000, files: 2 }, counted, log, () => now)
  const write = async (works: boolean): Promise<void> => {
    rmSync(path, { recursive: true, force: true })
    if (!works) mkdirSync(path)
    writer.write(batch(counted, ['line']))
    await writer.close()
  }
  await write(false)
  await write(true)
  t.deepEqual([log.said.length, counted.written], [2, 1])
  now += 59_000
  await write(false)
  t.is(log.said.length, 2, 'not so soon')
  now += 1_000
  await write(false)
  t.regex(log.said[2] ?? '', /cannot be written/)
  now += 120_000
  await write(false)
  t.is(log.said.length, 3, 'once until it works again')
  await write(true)
  t.regex(log.said[3] ?? '', /again/)
})

const full = '/dev/full'
const hasFull = (() => {
  try {
    return statSync(full).isCharacterDevice()
  } catch {
    return false
  }
})()

test('a full disk: the lines are lost, said once, and nothing throws', async t => {
  if (!hasFull) return t.pass('no /dev/full here')
  const counted = counts()
  const log = listener()
  const writer = new DecisionWriter({ path: full, maxBytes: 1000, files: 2 }, counted, log)
  for (let i = 0; i < 3; i++) writer.write(batch(counted, ['line']))
  await writer.close()
  t.is(counted.dropped('not_written'), 3)
  t.is(counted.pendingBytes, 0)
  t.is(log.said.length, 1)
  t.regex(log.said[0] ?? '', /ENOSPC/)
})

test('what waits is bounded over all threads; beyond, lines are dropped and counted', t => {
  const memory = createDecisionCounts()
  const [one, two] = [new DecisionCounts(memory), new DecisionCounts(memory)]
  t.true(one.admit(60, 100))
  t.false(two.admit(60, 100))
  t.true(two.admit(40, 100))
  t.is(one.dropped('no_room'), 1)
  one.wrote(1, 60)
  t.is(two.pendingBytes, 40)
  t.true(two.admit(60, 100))
})

test('lines go in batches: when there are many, after a while, and at the end', async t => {
  const counted = counts()
  const sent: LineBatch[] = []
  const lines = new LineBatcher(counted, all => sent.push(all))
  const long = 'x'.repeat(40_000)
  lines.add(long)
  t.is(sent.length, 0)
  lines.add(long)
  t.deepEqual(
    sent.map(({ lines: count, bytes }) => ({ count, bytes })),
    [{ count: 2, bytes: 80_002 }],
  )
  lines.add('short')
  lines.flush()
  t.is(sent[1]?.text, 'short\n')
  lines.flush()
  t.is(sent.length, 2, 'nothing is sent of nothing')
  await new Promise<void>(resolve => {
    const later = new LineBatcher(counted, ({ text }) => {
      t.is(text, 'later\n')
      resolve()
    })
    later.add('later')
    // The batcher's own timer keeps no process alive.
    const alive = setInterval(() => undefined, 50)
    t.teardown(() => clearInterval(alive))
  })
})
