/** What `phyllo simulate` makes of its options, and what it says of wrong ones. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { OptionsError } from '#phyllo/simulation/options/failure.js'
import { loadOptions } from '#phyllo/simulation/options/load.js'
import { scenariosOf } from '#phyllo/simulation/options/scenarios.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'

const folder = mkdtempSync(join(tmpdir(), 'phyllo-simulate-'))
test.after.always(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

const synthetic = { flag: '--synthetic', path: ['synthetic'], value: { groups: 2, prompts: 3 } }
const flag = (name: string, key: string, value: unknown) => ({ flag: name, path: [key], value })
const scenarios = (...flags: { flag: string; path: string[]; value: unknown }[]) =>
  scenariosOf(loadOptions(undefined, [synthetic, ...flags]))
const complaint = (...flags: { flag: string; path: string[]; value: unknown }[]): string => {
  try {
    scenarios(...flags)
  } catch (error) {
    if (error instanceof OptionsError) return error.message
    throw error
  }
  return ''
}

test('the defaults: eight H100 pods, the router’s default profile, caches predicted', t => {
  const [only, ...others] = scenarios()
  t.is(others.length, 0)
  t.is(only?.profile.name, 'cache-aware')
  t.deepEqual(
    only?.fleet.map(({ name, count }) => [name, count]),
    [['h100-8b', 8]],
  )
  t.is(only?.eventLagMs, null)
  t.is(only?.workload.requests.length, 6)
})

test('a fleet may mix classes, and a profile may come from a file, alone or among others', t => {
  const one = file('mine.yaml', 'pick: random\nexecute: single\n')
  const more = file(
    'more.yaml',
    'profiles:\n  first: { pick: random, execute: single }\n  second: { pick: round-robin, execute: single }\n',
  )
  const found = scenarios(
    flag('--compare', 'compare', ['round-robin', one, more]),
    flag('--fleet', 'fleet', 'a10g-8b:4, h100-8b:2'),
    flag('--block-size', 'blockSize', 64),
  )
  t.deepEqual(
    found.map(({ profile }) => profile.name),
    ['round-robin', 'mine', 'first', 'second'],
  )
  t.deepEqual(
    found[0]?.fleet.map(({ name, count, parameters }) => [name, count, parameters.blockSize]),
    [
      ['a10g-8b', 4, 64],
      ['h100-8b', 2, 64],
    ],
  )
})

test('a scenario file says the same; flags win; its paths start at its folder', t => {
  file(
    'trace.csv',
    'TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00,5,5\n2024-05-10 00:00:10,5,5\n',
  )
  const path = file(
    'scenario.yaml',
    'trace: trace.csv\nrate: 1\nseed: 7\nfleet:\n  - { class: a10g-8b, count: 2, kvTokens: 4096, labels: { zone: a } }\n  - class: h100-8b\nkvTokens: 8192\n',
  )
  const [only] = scenariosOf(loadOptions(path, [flag('--seed', 'seed', 9)]))
  t.is(only?.seed, 9)
  t.deepEqual(
    only?.fleet.map(({ parameters, count, labels }) => [
      parameters.blocks * parameters.blockSize,
      count,
      labels,
    ]),
    [
      [4096, 2, { zone: 'a' }],
      [8192, 1, {}],
    ],
  )
  t.is(only?.workload.requests[1]?.atMs, 1000, 'ten seconds at 0.1 a second, at one a second')
})

test('a router’s configuration brings its profiles and its cache settings', t => {
  const config = file(
    'phyllo.yaml',
    'defaults: { profile: own }\nprofiles:\n  own: { pick: random, execute: single }\ncache: { predictedBlocks: 1234 }\n',
  )
  const [only] = scenarios(flag('--config', 'config', config))
  t.is(only?.profile.name, 'own')
  t.is(only?.state.predictedBlocks, 1234)
})

test('wrong values name the flag and the fix', t => {
  t.regex(
    complaint(flag('--fleet', 'fleet', 'h10-8b:2')),
    /^--fleet {2}no pod class is named 'h10-8b' — write h100-8b$/,
  )
  t.regex(
    complaint(flag('--fleet', 'fleet', 'h100-8b:x')),
    /^--fleet {2}expected CLASS:COUNT or CLASS:COUNT:ROLE, got "h100-8b:x"/,
  )
  t.regex(complaint(flag('--fleet', 'fleet', 'h100-8b:2000')), /^--fleet {2}2000 pods — /)
  t.regex(complaint(flag('--kv-tokens', 'kvTokens', 3)), /^--kv-tokens {2}3 tokens are less than one block/)
  t.regex(
    complaint(flag('--profile', 'profile', 'cache-awar')),
    /^--profile {2}no profile .* — write cache-aware$/,
  )
  t.regex(
    complaint(flag('--compare', 'compare', ['random', 'random'])),
    /^--compare {2}'random' is named twice/,
  )
  t.regex(complaint(flag('--rate', 'rate', -1)), /^--rate {2}.*-1/)
  t.regex(complaint(flag('--seed', 'seed', 'x')), /^--seed {2}expected .*"x"/)
  t.regex(
    complaint(flag('--rate', 'rate', 1), flag('--rate-scale', 'rateScale', 2)),
    /^--rate-scale {2}cannot be given with --rate/,
  )
  t.regex(complaint(flag('trace', 'trace', 'x.jsonl')), /^--synthetic {2}cannot be given with a trace/)
  t.regex(complaint({ ...synthetic, value: { groups: 0 } }), /^--synthetic {2}groups {2}.*0/)
  t.regex(
    complaint({ ...synthetic, value: { group: 2 } }),
    /^--synthetic {2}group {2}unknown key — write groups$/,
  )
  t.throws(() => scenariosOf(loadOptions(undefined, [])), {
    instanceOf: OptionsError,
    message: /--trace {2}is missing/,
  })
})

test('a wrong scenario file or profile is told with line and column', t => {
  const scenario = file('bad.yaml', 'seed: 1\nslots: 3\n')
  t.throws(() => loadOptions(scenario, []), { message: /bad\.yaml:2:1 {2}slots {2}unknown key/ })
  const profile = file('broken.yaml', 'pick: max-scor\nexecute: single\n')
  t.regex(
    complaint(flag('--profile', 'profile', profile)),
    /broken\.yaml:1:1 {2}pick {2}unknown pick plugin 'max-scor'/,
  )
  t.throws(() => loadOptions(join(folder, 'none.yaml'), []), {
    message: /cannot read the scenario .*no such file/,
  })
})

const ownWorkflow = (steps: string): string => `
defaults: { profile: own }
profiles:
  own:
    prepare: [tokenize, hash-blocks, match-prefix]
    filter: [healthy]
    score: [prefill-time]
    pick: max-score
    execute: EXECUTE
workflows:
  mine:
    protocol: vllm-nixl
    choice: { step: decode, threshold: 256 }
    steps: ${steps}
`
const prefillAndDecode = `
      - { name: prefill, role: prefill, profile: prefill, keep: { kv: /kv_transfer_params } }
      - name: decode
        role: decode
        profile: decode
        prefilled: true
        repick: true
        restartAt: prefill
        request: { set: { kv_transfer_params: { from: prefill.kv } } }`

test('a workflow of the configuration is simulated as the one that ships which it spells out', async t => {
  const run = async (execute: string) => {
    const config = file('split.yaml', ownWorkflow(prefillAndDecode).replace('EXECUTE', execute))
    const [only] = scenarios(
      flag('--config', 'config', config),
      flag('--fleet', 'fleet', 'a10g-8b:2:prefill,a10g-8b:2:decode'),
    )
    if (only === undefined) throw new Error('no scenario')
    const { wallMs: _, ...result } = await simulate(only)
    return { ...result, profile: '' }
  }
  const own = await run('mine')
  t.true(own.handOffs.requests > 0)
  t.deepEqual(own, await run('prefill-decode/vllm-nixl'))
})

test('a workflow of the configuration that can’t be simulated is refused, with what can', t => {
  for (const steps of [
    '[{ name: a, profile: least-request }, { name: decode }]',
    prefillAndDecode.replace('prefilled: true', 'prefilled: false'),
    prefillAndDecode.replace('role: prefill,', 'role: prefill, optional: true,'),
  ]) {
    const config = file('other.yaml', ownWorkflow(steps).replace('EXECUTE', 'mine'))
    t.regex(
      complaint(flag('--config', 'config', config)),
      /^--profile {2}'own' is served by workflow 'mine', which can't be simulated — it can be of one step, or of a prefill step/,
    )
  }
})

test('a profile file may name the workflows of --config, and one with its own is told where they belong', t => {
  const config = file('split.yaml', ownWorkflow(prefillAndDecode).replace('EXECUTE', 'mine'))
  const alone = file('alone.yaml', 'pick: random\nexecute: mine\n')
  t.regex(complaint(flag('--profile', 'profile', alone)), /unknown execute plugin 'mine'/)
  const [only] = scenarios(flag('--config', 'config', config), flag('--profile', 'profile', alone))
  t.is(only?.profile.execute.name, 'mine')
  t.regex(
    complaint(flag('--profile', 'profile', config)),
    /^--profile {2}.*split.yaml has workflows of its own, which are read from --config alone — write --config .*split.yaml/,
  )
})
