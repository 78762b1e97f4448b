/** Demand and split: figures computed by hand, and what must hold for any. */
import test from 'ava'
import fc from 'fast-check'
import {
  demandOf,
  loadOf,
  msPerTokenOf,
  type PodLook,
  type Split,
  splitFor,
} from '#phyllo/data/split/demand.js'
import { LoadWindow } from '#phyllo/data/split/load-window.js'

const prefillPod: PodLook = {
  takesPrefill: true,
  takesDecode: false,
  arrivedTokens: 0,
  pendingTokens: 0,
  activeTokens: 0,
  inflight: 0,
  maxInflight: 0,
  msPerToken: -1,
  engine: undefined,
}
const decodePod: PodLook = { ...prefillPod, takesPrefill: false, takesDecode: true }
const engine = (kvUse: number, running = 1, waiting = 0) => ({ kvUse, running, waiting })

test('prefill: tokens that arrive, and those that wait over a window, times what the median pod takes for one', t => {
  const pods = [
    { ...prefillPod, arrivedTokens: 6000, pendingTokens: 30_000, msPerToken: 0.1 },
    { ...prefillPod, arrivedTokens: 1500, msPerToken: 0.3 },
    // Decodes, and so what it is sent to compute is no prefill; what it takes for a token counts.
    { ...decodePod, arrivedTokens: 9999, msPerToken: 0.2 },
  ]
  // 7,500 tokens in 1,500 ms are 5 a ms, 30,000 over 30 s one more: 6 tokens/ms · 0.2 ms/token.
  const load = loadOf(pods, 1500, 30_000)
  t.is(load.tokensPerMs, 6)
  t.is(msPerTokenOf(pods), 0.2)
  t.is(demandOf(load, 0.2).prefill, 6 * 0.2)
  t.is(msPerTokenOf([prefillPod]), undefined)
  t.is(demandOf(load, undefined).prefill, undefined)
  // Nothing to do takes no time, however long a token takes.
  t.is(demandOf(loadOf([prefillPod], 1000, 30_000), undefined).prefill, 0)
  t.is(loadOf([], 0, 30_000).tokensPerMs, 0)
})

test('decode: KV use and the queue behind it, requests over their limit where that is more', t => {
  const decode = (...pods: PodLook[]) => loadOf(pods, 1000, 30_000).decode
  t.is(decode({ ...decodePod, engine: engine(0.5) }, { ...decodePod, engine: engine(0.25) }), 0.75)
  // 4 wait behind 8: half as much again.
  t.is(decode({ ...decodePod, engine: engine(0.8, 8, 4) }), 0.8 * 1.5)
  t.is(decode({ ...decodePod, engine: engine(0.1), inflight: 6, maxInflight: 8 }), 0.75)
  t.is(decode({ ...decodePod, inflight: 6, maxInflight: 8 }), 0.75)
  // One of which nothing is known is as full as the others.
  t.is(decode({ ...decodePod, engine: engine(0.5) }, { ...decodePod, inflight: 1 }), 1)
  t.is(decode({ ...decodePod, inflight: 1 }), undefined)
  // Idle it may be, but nobody says so.
  t.is(decode(decodePod), undefined)
  // Of a pod that does both, a quarter of the tokens are still being computed; its queue is prefill's.
  const both = { ...decodePod, takesPrefill: true, pendingTokens: 250, activeTokens: 1000 }
  t.is(decode({ ...both, engine: engine(0.8, 8, 4) }), 0.8 * 0.75)
})

test('the split gives both steps the same utilisation, in whole pods the least high one', t => {
  t.deepEqual(splitFor({ prefill: 1, decode: 3 }, 8), { ideal: 2, prefill: 2, decode: 6 })
  // Ideal 3.2: 3 would be max(0.533, 0.48), 4 max(0.4, 0.6).
  t.deepEqual(splitFor({ prefill: 1.6, decode: 2.4 }, 8), { ideal: 3.2, prefill: 3, decode: 5 })
  // Ideal 1.5 of 3: 1 and 2 are the same; decode gets the odd one.
  t.deepEqual(splitFor({ prefill: 1, decode: 1 }, 3), { ideal: 1.5, prefill: 1, decode: 2 })
  // One pod at least of each.
  t.deepEqual(splitFor({ prefill: 0, decode: 2 }, 4), { ideal: 0, prefill: 1, decode: 3 })
  t.deepEqual(splitFor({ prefill: 2, decode: 0 }, 4), { ideal: 4, prefill: 3, decode: 1 })
})

test('where there is nothing to divide, or nothing to divide by, it says why', t => {
  t.regex(String(splitFor({ prefill: 1, decode: 1 }, 1)), /not two pods/)
  t.regex(String(splitFor({ prefill: undefined, decode: 1 }, 4)), /prefill rate/)
  t.regex(String(splitFor({ prefill: 1, decode: undefined }, 4)), /how full/)
  t.regex(String(splitFor({ prefill: 0, decode: 0 }, 4)), /idle/)
  t.regex(String(splitFor({ prefill: 0.01, decode: 0.02 }, 4)), /idle/)
})

/** Not idle, in any fleet below. */
const demand = fc.double({ min: 0.4, max: 100, noNaN: true })

test('for any demand: no other split has a lower pressure, and steps change places with their demand', t => {
  fc.assert(
    fc.property(demand, demand, fc.integer({ min: 2, max: 40 }), (prefill, decode, pods) => {
      const split = found(splitFor({ prefill, decode }, pods))
      const pressure = (x: number) => Math.max(prefill / x, decode / (pods - x))
      t.is(split.prefill + split.decode, pods)
      for (let x = 1; x < pods; x++) t.true(pressure(split.prefill) <= pressure(x) * (1 + 1e-12))
      const turned = found(splitFor({ prefill: decode, decode: prefill }, pods))
      t.true(Math.abs(turned.ideal + split.ideal - pods) < 1e-9)
      t.true(Math.abs(pressureOf(turned, decode, prefill) / pressure(split.prefill) - 1) < 1e-9)
    }),
  )
})

const pressureOf = ({ prefill: x, decode: y }: Split, prefill: number, decode: number) =>
  Math.max(prefill / x, decode / y)

function found(split: Split | string): Split {
  if (typeof split === 'string') throw new Error(split)
  return split
}

test('a window is the mean of its last looks; looks that do not say are passed over, a window of them empties it', t => {
  const window = new LoadWindow(3)
  t.is(window.mean, undefined)
  for (const tokensPerMs of [9, 1, 2]) window.add({ tokensPerMs, decode: 1 })
  t.true(window.isFull)
  window.add({ tokensPerMs: 3, decode: 4 })
  t.deepEqual(window.mean, { tokensPerMs: 2, decode: 2 })
  for (let i = 0; i < 2; i++) window.add({ tokensPerMs: 100, decode: undefined })
  t.deepEqual(window.mean, { tokensPerMs: 2, decode: 2 })
  window.add({ tokensPerMs: 100, decode: undefined })
  t.is(window.mean, undefined)
  t.false(window.isFull)
})
