/** A process may end at any time: not by an abort, whatever its event thread is doing. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import type { Ending } from './ending-process.js'
import { Engine } from './engine.js'
import { publisher } from './router-kit.js'

const endings: readonly [Ending, number][] = [
  ['exit', 7],
  ['throw', 1],
]
for (const [how, code] of endings) {
  test(`${how}: the process ends as it was told to, in the middle of a flood too`, async t => {
    const engine = new Engine(await publisher(t, { replay: 'topic' }))
    for (let index = 0; index < 2000; index++) engine.storeUnheard(index, 0, 4)
    const { endpoint, replayEndpoint = '' } = engine.publisher
    const child = fork(new URL('./ending-process.js', import.meta.url), [how, endpoint, replayEndpoint], {
      stdio: 'ignore',
    })
    const ended = once(child, 'exit')
    await engine.publisher.subscribed()
    for (let index = 2000; index < 4000; index++) engine.store(index, 0, 4)
    child.send('end')
    t.deepEqual(await ended, [code, null])
  })
}
