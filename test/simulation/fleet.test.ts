import test from 'ava'
import { engineOptions } from '#phyllo/simulation/engine/options.js'
import { startFleet } from '#phyllo/simulation/fleet.js'
import { at, until } from './kit.js'

test('a fleet serves from processes of its own, empties its caches, and is gone after close', async t => {
  const fleet = await startFleet(2, { model: 'm', speed: 500 })
  const [first = '', second = ''] = fleet.urls
  t.not(first, second)
  const ask = async (url: string): Promise<unknown> => {
    const body = JSON.stringify({ model: 'm', prompt: 'word '.repeat(60), max_tokens: 2 })
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', body })
    return at(await answer.json(), 'usage', 'prompt_tokens_details', 'cached_tokens')
  }
  t.is(await ask(first), 0)
  t.true(Number(await ask(first)) > 0)
  t.is(await ask(second), 0, 'caches are not shared')
  await fleet.resetCaches()
  t.is(await ask(first), 0)
  await fleet.close()
  await t.throwsAsync(fetch(`${first}/health`))
  await t.throwsAsync(fetch(`${second}/health`))
})

test('an engine that cannot start fails the fleet with its reason and leaves no process behind', async t => {
  const children = (): number =>
    process.getActiveResourcesInfo().filter(name => name === 'ProcessWrap').length
  const before = children()
  await t.throwsAsync(startFleet(2, { modelDir: '/nonexistent/model' }), {
    message: /an engine did not start: .*nonexistent/,
  })
  await until(() => children() <= before)
  t.pass()
})

test('options: defaults are the modelled hardware’s, nonsense is refused', t => {
  t.like(engineOptions.parse({}), { blockSize: 16, blocks: 2082, maxBatchedTokens: 2048, speed: 1 })
  for (const wrong of [{ fault: 'explode' }, { blocks: 0 }, { speed: -1 }, { failRate: 2 }, { unknown: 1 }]) {
    t.false(engineOptions.safeParse(wrong).success, JSON.stringify(wrong))
  }
  t.true(engineOptions.safeParse({ fault: 'error=503' }).success)
})
