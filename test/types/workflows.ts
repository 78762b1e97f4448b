/** What must compile of workflows, and what must not. It is the compiler that runs this test. */
import { slot } from '#phyllo/decision/slot.js'
import type { StepResult } from '#phyllo/execution/workflow.js'
import { workflow } from '#phyllo/execution/workflow-builder.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'

const kv = slot('kv').of<string>()
const other = slot('other').of<number>()

const onFailure = { kind: 'fail' } as const
const prefill = { name: 'prefill', output: 'keep', onFailure, request: passThrough } as const
const decode = { name: 'decode', output: 'relay', onFailure, request: passThrough } as const

// What a step produces is what later steps may read, with its type.
workflow('typed')
  .step({
    ...prefill,
    writes: kv,
    read(answer: StepResult, ctx) {
      ctx.set(kv, answer.body.toString())
      // @ts-expect-error of another type
      ctx.set(kv, 5)
      // @ts-expect-error not what it writes
      ctx.set(other, 5)
      return undefined
    },
  })
  .step({
    name: 'decode',
    output: 'relay',
    onFailure,
    reads: [kv],
    request(input) {
      const text: string = input.ctx.get(kv)
      // @ts-expect-error not among the reads
      input.ctx.get(other)
      input.podOf('prefill')
      // @ts-expect-error no step has that name
      input.podOf('encode')
      return { ...passThrough(input), headers: ['x-kv', text] }
    },
  })
  .build()

// @ts-expect-error nobody writes it
workflow('unwritten').step({ ...decode, reads: [kv] })
// @ts-expect-error written too late: by a step that runs beside it
workflow('beside').together({ ...prefill, output: 'drain', writes: kv }, { ...decode, reads: [kv] })
const prefilled = workflow('prefilled').step(prefill)
// @ts-expect-error two steps of one name
prefilled.step({ ...decode, name: 'prefill' })
// @ts-expect-error two steps of one name, beside each other
workflow('twice').together({ ...prefill, output: 'drain' }, { ...decode, name: 'prefill' })
const answered = prefilled.step(decode)
// @ts-expect-error what relays is the end
answered.step({ ...prefill, name: 'behind' })
// @ts-expect-error a second answer
workflow('relays').together(decode, { ...decode, name: 'again' })

// The pod of a later step is not picked yet.
workflow('later').step({
  name: 'prefill',
  output: 'keep',
  onFailure,
  request(input) {
    input.podOf('prefill')
    // @ts-expect-error comes later
    input.podOf('decode')
    return passThrough(input)
  },
})

// Unless it is picked ahead; then only those that were named.
workflow('ahead', { ahead: ['decode'] })
  .step({
    name: 'prefill',
    output: 'keep',
    onFailure,
    request(input) {
      input.podOf('decode')
      // @ts-expect-error no step of these
      input.podOf('encode')
      return passThrough(input)
    },
  })
  .step(decode)
  .build()

// Of two that run together, each may name the other's pod.
workflow('together').together(
  {
    name: 'prefill',
    output: 'drain',
    onFailure,
    request(input) {
      input.podOf('decode')
      return passThrough(input)
    },
  },
  decode,
)

// A hedge sends the request twice: only an answer for the client can come from either of two pods.
const hedge = { afterMs: () => 1, spend: () => true, sample: () => undefined }
workflow('hedged').step({ ...decode, hedge })
// @ts-expect-error its answer is for later steps
workflow('hedged').step({ ...prefill, hedge })
// @ts-expect-error its answer is read away
workflow('hedged').step({ ...prefill, output: 'drain', hedge })
// @ts-expect-error they meet on one pod
workflow('hedged').together({ ...prefill, output: 'drain' }, { ...decode, hedge })
