/** The derived figures of each pod class, against what is known of such pods. */
import { readdirSync } from 'node:fs'
import test from 'ava'
import { a10gLlama8b, deriveParameters } from '#phyllo/simulation/engine/parameters.js'
import { h100, h100Settings } from '#phyllo/simulation/pod-classes/h100.js'
import { h1008b } from '#phyllo/simulation/pod-classes/h100-8b.js'
import { podClasses, podClassNamed } from '#phyllo/simulation/pod-classes/index.js'
import { parametersFor } from '#phyllo/simulation/pod-classes/pod-class.js'
import { tensorParallel } from '#phyllo/simulation/pod-classes/tensor-parallel.js'

test('each class is found by its file, and the file by its class', t => {
  const folder = new URL('../../../src/simulation/pod-classes/', import.meta.url)
  const files = readdirSync(folder).map(file => file.replace(/\.ts$/, ''))
  for (const { name } of podClasses) t.true(files.includes(name), name)
  t.deepEqual(
    podClasses.map(({ name }) => podClassNamed(name)?.name),
    ['a10g-8b', 'h100-8b', 'h100x2-32b', 'h100x8-70b'],
  )
})

test('the A10G is the engine’s own default', t => {
  const found = podClassNamed('a10g-8b')
  if (found === undefined) return t.fail()
  t.deepEqual(parametersFor(found), a10gLlama8b)
})

test('room for KV on an H100 NVL is within 5 % of what vLLM reports there', t => {
  // 94 GB, of which the driver reports 95,830 MiB; vLLM at 0.9 of the memory: 542,960 tokens for Llama 3.1 8B.
  const nvl = { ...h100, memory: 95_830 * 1024 * 1024 }
  const { blocks, blockSize } = deriveParameters(nvl, h1008b.model, {
    ...h100Settings,
    memoryUtilisation: 0.9,
  })
  t.true(Math.abs((blocks * blockSize) / 542_960 - 1) < 0.05, `${blocks * blockSize}`)
})

test('every class has room for a prompt of its model’s 128k tokens, but for the A10G', t => {
  for (const podClass of podClasses) {
    const { blocks, blockSize } = parametersFor(podClass)
    t.is(blocks * blockSize > 131_072, podClass.name !== 'a10g-8b', `${podClass.name}: ${blocks * blockSize}`)
  }
})

test('several GPUs are faster than one and slower than as many times one', t => {
  const one = deriveParameters(h100, h1008b.model, h100Settings)
  for (const count of [2, 4, 8]) {
    const all = deriveParameters(tensorParallel(h100, h1008b.model, count), h1008b.model, h100Settings)
    t.true(all.linearMsPerToken < one.linearMsPerToken, 'faster than one')
    t.true(all.linearMsPerToken > one.linearMsPerToken / count, 'less than linear')
    t.true(Math.abs(all.weightReadMs * count - one.weightReadMs) < 1e-9)
  }
  t.deepEqual(deriveParameters(tensorParallel(h100, h1008b.model, 1), h1008b.model, h100Settings), one)
})

test('a fleet may say otherwise, down to one block', t => {
  const { blocks, blockSize, maxBatch, maxBatchedTokens } = parametersFor(h1008b, {
    blockSize: 32,
    kvTokens: 1000,
    maxBatch: 7,
    maxBatchedTokens: 99,
  })
  t.deepEqual(
    { blocks, blockSize, maxBatch, maxBatchedTokens },
    { blocks: 31, blockSize: 32, maxBatch: 7, maxBatchedTokens: 99 },
  )
  t.throws(() => parametersFor(h1008b, { kvTokens: 15 }), {
    instanceOf: RangeError,
    message: /less than one block/,
  })
})
