/** All pods of a role are bad, or gone: the fallback serves the request, or the client is told, and soon. */
import test from 'ava'
import { errorOf } from '../router-kit.js'
import { ask, contentOf, said } from './ask.js'
import { chat, completion, type Fleet, fleetFor, type Role, settled, sharedFleet } from './kit.js'
import { afflict, deadlines, type FaultName } from './matrix.js'

const file = { timeouts: { idleMs: 2_000 } }
const nixl = sharedFleet({ connector: 'nixl', execute: deadlines, file, engines: { kvTimeout: 3 } })
const sglang = sharedFleet({ connector: 'sglang', execute: deadlines, file, engines: { kvTimeout: 10 } })

/** One request while both pods of a role have the fault. */
async function against(fleet: Fleet, role: Role, fault: FaultName, body: object) {
  const undo = await Promise.all(fleet[role].map(engine => afflict(engine, fault)))
  try {
    return await ask(fleet.router.url, body)
  } finally {
    await Promise.all(undo.map(each => each()))
  }
}

const faults = ['connect refused', '500', 'hang', 'reset before headers', 'garbage JSON'] as const

for (const fault of faults) {
  for (const stream of [false, true]) {
    test.serial(
      `nixl, prefill pods all ${fault}: a decode pod serves it whole, stream ${stream}`,
      async t => {
        const fleet = await nixl()
        const body = chat({ stream })
        const expected = await said(fleet.alone.url, body)
        const answer = await against(fleet, 'prefill', fault, body)
        t.is(answer.status, 200, answer.text)
        t.is(contentOf(answer, stream), expected.texts[0] ?? '')
        await settled(fleet)
      },
    )
  }
}

/** Status and code of the client's error; no code where it is the pod's own answer. */
const errors: Readonly<
  Record<Exclude<(typeof faults)[number], 'garbage JSON'>, [number, string | undefined]>
> = {
  'connect refused': [502, 'pod_unreachable'],
  '500': [500, undefined],
  hang: [504, 'step_timeout'],
  'reset before headers': [502, 'pod_closed_early'],
}
for (const role of ['prefill', 'decode'] as const) {
  for (const [fault, [status, code]] of Object.entries(errors)) {
    for (const stream of [false, true]) {
      test.serial(`sglang, ${role} pods all ${fault}: ${status}, stream ${stream}`, async t => {
        const fleet = await sglang()
        const name = faults.find(each => each === fault)
        if (name === undefined) return t.fail()
        const answer = await against(fleet, role, name, chat({ stream }))
        t.is(answer.status, status, answer.text)
        if (code !== undefined) t.is(errorOf(answer.text).code, code)
        await settled(fleet)
      })
    }
  }
}

test.serial(
  'nixl, decode pods all bad: the client is told, after as many tries as there are pods',
  async t => {
    const fleet = await nixl()
    for (const [fault, status] of [
      ['500', 500],
      ['connect refused', 502],
      ['reset before headers', 502],
    ] as const) {
      const answer = await against(fleet, 'decode', fault, chat())
      t.is(answer.status, status, answer.text)
      await settled(fleet)
    }
  },
)

test.serial(
  'nixl, decode pods that all hang once held a request for ten minutes: split, short or in one piece, its steps have deadlines',
  async t => {
    const fleet = await nixl()
    const short = { messages: [{ role: 'user', content: 'a leaf' }] }
    const bodies = [
      chat(),
      chat({ stream: true }),
      chat({ n: 2 }),
      chat(short),
      chat({ ...short, stream: true }),
    ]
    const undo = await Promise.all(fleet.decode.map(engine => afflict(engine, 'hang')))
    try {
      for (const answer of await Promise.all(bodies.map(body => ask(fleet.router.url, body)))) {
        t.deepEqual([answer.status, errorOf(answer.text).code], [504, 'step_timeout'])
      }
    } finally {
      await Promise.all(undo.map(each => each()))
    }
    await settled(fleet)
  },
)

test.serial('the fallback of the file serves what has no pod, and what cannot be split', async t => {
  const fleet = await fleetFor(t, { connector: 'sglang', execute: { ...deadlines, fallback: 'single' } })
  const { router, alone, prefill } = fleet
  const added = await router.admin('POST', '/pods', { url: alone.url, id: 'mixed', models: ['tiny'] })
  t.is(added.status, 201, await added.text())
  const twice = completion({ n: 2 })
  const two = await ask(router.url, twice)
  t.deepEqual([two.status, two.headers.get('x-phyllo-pod')], [200, 'mixed'], two.text)
  for (const engine of prefill) engine.setFault('refuse')
  const body = chat()
  const answer = await ask(router.url, body)
  t.deepEqual([answer.status, answer.headers.get('x-phyllo-pod')], [200, 'mixed'], answer.text)
  for (const id of ['prefill-0', 'prefill-1']) await router.admin('POST', `/pods/${id}/cordon`)
  const cordoned = await ask(router.url, chat())
  t.deepEqual([cordoned.status, cordoned.headers.get('x-phyllo-pod')], [200, 'mixed'], cordoned.text)
  for (const engine of prefill) engine.setFault(null)
  for (const id of ['prefill-0', 'prefill-1']) await router.admin('POST', `/pods/${id}/uncordon`)
  const split = await ask(router.url, chat())
  t.regex(split.headers.get('x-phyllo-pod') ?? '', /^decode-/)
  await settled(fleet)
})
