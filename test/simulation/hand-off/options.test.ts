/** Options that don't go together, and ports that are taken. */
import test from 'ava'
import { startEngine } from '#phyllo/simulation/engine/http.js'
import { engineOptions } from '#phyllo/simulation/engine/options.js'
import { engineFor } from '../kit.js'

const complaint = (options: object): string => {
  const parsed = engineOptions.safeParse(options)
  return parsed.success
    ? ''
    : parsed.error.issues.map(({ path, message }) => `${path}: ${message}`).join('; ')
}

test('a leg needs a connector, an encoder none, and some connectors a leg', t => {
  t.regex(complaint({ role: 'prefill' }), /^kvConnector: role prefill needs one of nixl, /)
  t.regex(complaint({ role: 'decode' }), /^kvConnector: /)
  t.regex(complaint({ role: 'encode', kvConnector: 'nixl' }), /^kvConnector: .*leave it out/)
  t.regex(complaint({ kvConnector: 'sglang' }), /^role: .*prefill or decode/)
  t.regex(complaint({ kvConnector: 'p2p-nccl' }), /^role: /)
  t.regex(complaint({ kvTimeout: 0 }), /^kvTimeout: /)
  for (const kvConnector of ['nixl', 'mooncake', 'generic']) t.is(complaint({ kvConnector }), '')
  t.is(complaint({}), '')
  t.is(complaint({ role: 'encode' }), '')
})

test('a port that is taken is told, with the flag that sets another', async t => {
  const first = await engineFor(t, { role: 'prefill', kvConnector: 'mooncake', kvPort: 0 })
  const kvPort = first.kvAddress?.port ?? 0
  const second = startEngine({ port: 0, role: 'prefill', kvConnector: 'mooncake', kvPort })
  await t.throwsAsync(second, { message: new RegExp(`cannot listen on 127.0.0.1:${kvPort} .*--kv-port`) })
})
