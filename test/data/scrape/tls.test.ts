/** Pods behind TLS. The certificate is the test's own, for localhost alone, and nobody's secret. */
import { createServer } from 'node:https'
import test from 'ava'
import { Connection, type ScrapeFault } from '#phyllo/data/scrape/connection.js'

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHkCwTSfGmUAUDGiH
ICdBYWTrAxJYZt+5J7egDsZPgWyhRANCAAQBZx6L7l/P+MHWEz5LEzX4yElOT6vJ
zWT8Cn+I5oAp/+duH32x5WPBUBau/aSWRAUDEJ+55chvGneT6w6VqIMs
-----END PRIVATE KEY-----`
const cert = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUJmQZUErTc9blWrhLnGUVfTp9qmIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIzMzgzM1oYDzIxMjYxMDI4
MjMzODMzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQBZx6L7l/P+MHWEz5LEzX4yElOT6vJzWT8Cn+I5oAp/+duH32x5WPB
UBau/aSWRAUDEJ+55chvGneT6w6VqIMso28wbTAdBgNVHQ4EFgQUH4OqNihlTeJv
enrfXvpCsL/c00owHwYDVR0jBBgwFoAUH4OqNihlTeJvenrfXvpCsL/c00owDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAJ+fXHHIAU74fncds81+7pOGovqqfWEfejigkNe6wVAxAiB4
JQQ88M19n65QcVYwIckWAWoyKJPTRswIh2DHLOqi2Q==
-----END CERTIFICATE-----`

test('a page over TLS; a certificate that nobody vouches for is a fault', async t => {
  const asked: (string | undefined)[] = []
  let connections = 0
  const server = createServer({ key, cert }, (request, response) => {
    asked.push(request.url)
    response.end('vllm:num_requests_running 3\n'.repeat(2000))
  })
  server.on('secureConnection', () => connections++)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') return t.fail('no port')

  let answer: (result: number | ScrapeFault) => void = () => undefined
  let bytes = 0
  const connection = new Connection(`https://localhost:${address.port}`, {
    onBody: (_bytes, from, to) => {
      bytes += to - from
    },
    onEnd: () => answer(bytes),
    onFault: fault => answer(fault),
    onClosed: () => undefined,
  })
  t.teardown(() => {
    connection.destroy()
    server.close()
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  })
  const ask = () =>
    new Promise<number | ScrapeFault>(resolve => {
      bytes = 0
      answer = resolve
      connection.get('/metrics')
    })
  t.deepEqual(await ask(), {
    kind: 'connection',
    reason: 'cannot be reached (DEPTH_ZERO_SELF_SIGNED_CERT)',
  })
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  for (let i = 0; i < 3; i++) t.is(await ask(), 28 * 2000)
  t.deepEqual(asked, ['/metrics', '/metrics', '/metrics'])
  t.is(connections, 1)
})
