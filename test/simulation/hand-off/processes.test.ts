/** Hand-offs between engines in processes of their own. */
import test from 'ava'
import { startEngines } from '#phyllo/simulation/fleet.js'
import { at } from '../kit.js'
import { body, CHAT } from './kit.js'

test('a prefill process hands over to a decode process', async t => {
  const shared = { kvConnector: 'nixl', model: 'tiny', speed: 500 } as const
  const fleet = await startEngines([
    { ...shared, role: 'prefill' },
    { ...shared, role: 'decode' },
  ])
  t.teardown(() => fleet.close())
  const [prefill, decode] = fleet.engines
  const send = async (
    url: string | undefined,
    fields: object,
  ): Promise<{ status: number; json: unknown }> => {
    const answer = await fetch(`${url}${CHAT}`, { method: 'POST', body: JSON.stringify(fields) })
    return { status: answer.status, json: await answer.json() }
  }
  const request = body()
  const asked = { ...request, max_tokens: 1, kv_transfer_params: { do_remote_decode: true } }
  const params = at((await send(prefill?.url, asked)).json, 'kv_transfer_params')
  t.is(at(params, 'remote_port'), prefill?.kvAddress?.port)
  t.is(decode?.kvAddress, null)
  t.is((await send(decode?.url, { ...request, kv_transfer_params: params })).status, 200)
  const counts: unknown = await (await fetch(`${prefill?.url}/sim/hand-offs`)).json()
  t.like(counts, { role: 'prefill', kvConnector: 'nixl', made: 1, pulled: 1, live: 0 })
})
