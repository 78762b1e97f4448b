/** What the README tells library users, with the package's own name. */
import test from 'ava'
import { createPrefixIndex, formatIssues, hashTokens, parseConfig, startRouter } from 'phyllo'
import { engineFor, podOf } from './server/router-kit.js'

test('the index on its own: two of a prompt’s three blocks are found', t => {
  const index = createPrefixIndex(256)
  const pod = index.addPod()
  const tokens = Uint32Array.from({ length: 64 }, (_, i) => i)
  index.store(pod, hashTokens(tokens, 16, 'my-model'))
  const found = new Uint32Array(2 * 256)
  const asked = tokens.slice(0, 48)
  asked[40] = 7
  t.is(index.query(hashTokens(asked, 16, 'my-model'), found), 1)
  t.deepEqual([...found.subarray(0, 2)], [pod, 2])
  t.is(index.query(hashTokens(tokens, 16, 'another-model'), found), 0)
})

test('the router from a configuration', async t => {
  const { url } = await engineFor(t)
  const loaded = parseConfig(
    `{ pods: [{ url: "${url}" }], listen: { host: 127.0.0.1, port: 0, workers: 1 }, admin: { port: 0 }, log: { level: silent } }`,
  )
  if (!loaded.ok) return t.fail(formatIssues(loaded.issues))
  const router = await startRouter(loaded.config)
  t.is(await podOf(router), new URL(url).host)
  await router.close()
})
