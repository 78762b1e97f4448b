/** The README's `curl` lines, by curl itself. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { enginesFor, forEachEngine, routerFor } from './router-kit.js'

const run = promisify(execFile)
const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false,
)

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await run('curl', ['--silent', '--show-error', '--max-time', '20', ...args])
  return stdout
}

if (!hasCurl) test('curl: NOT RUN, as there is none on this machine', t => t.pass())
else {
  forEachEngine(engine => {
    test.serial(`${engine}: curl gets a chat, a stream, the models and an error`, async t => {
      const { pods } = await enginesFor(t, 2)
      const { url, adminUrl } = await routerFor(t, engine, { pods })
      const json = ['-H', 'content-type: application/json', '-d']
      const body = (more: object) =>
        JSON.stringify({
          model: 'tiny',
          messages: [{ role: 'user', content: 'Hello' }],
          max_tokens: 4,
          ...more,
        })
      const chat = JSON.parse(await curl(`${url}/v1/chat/completions`, ...json, body({})))
      t.is(chat.choices[0].message.role, 'assistant')
      const stream = await curl('-N', `${url}/v1/chat/completions`, ...json, body({ stream: true }))
      t.regex(stream, /^data: \{.*\n\ndata: \[DONE\]\n\n$/s)
      t.is(JSON.parse(await curl(`${url}/v1/models`)).data[0].id, 'tiny')
      const refused = await curl('-i', `${url}/v1/chat/completions`, ...json, body({ model: 'none' }))
      t.regex(refused, /^HTTP\/1\.1 404 .*x-request-id: .*"code":"model_not_found"/is)
      t.is(JSON.parse(await curl(`${adminUrl}/readyz`)).status, 'ready')
      // Over 1 KiB of body, older curls wait for a `100 Continue` before they send it.
      const long = body({ messages: [{ role: 'user', content: 'x'.repeat(4096) }] })
      t.is(
        JSON.parse(await curl(`${url}/v1/chat/completions`, '-H', 'expect: 100-continue', ...json, long))
          .object,
        'chat.completion',
      )
    })
  })
}
