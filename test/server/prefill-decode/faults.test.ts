/** The fault matrix: each way a pod can fail, on each leg, streamed or not, through each workflow. */
import test from 'ava'
import { type Connector, sharedFleet } from './kit.js'
import { cell, deadlines, expected, faultNames } from './matrix.js'

const connectors: readonly Connector[] = ['nixl', 'sglang', 'p2p-nccl', 'mooncake', 'generic']

/** In seconds: both legs of NIXL come one after the other; of Mooncake, decode waits for two deadlines at most. */
const kvTimeouts = { nixl: 3, sglang: 10, 'p2p-nccl': 10, mooncake: 5, generic: 10 } as const

for (const connector of connectors) {
  const shared = sharedFleet({
    connector,
    execute: deadlines,
    file: { timeouts: { idleMs: 2_000 } },
    // Hand-offs that nobody takes end soon, but not before the deadline of the leg that waits for them.
    engines: { kvTimeout: kvTimeouts[connector] },
  })
  for (const role of ['prefill', 'decode'] as const) {
    for (const fault of faultNames) {
      for (const stream of [false, true]) {
        const name = `${connector}, ${role}: ${fault}, ${stream ? 'streamed' : 'whole'}`
        test.serial(name, async t =>
          cell(t, await shared(), { role, fault, stream, result: expected(role, fault) }),
        )
      }
    }
  }
}
