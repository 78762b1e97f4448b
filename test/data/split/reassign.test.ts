/** Re-assignment over any fleet and any load: bounds, no flapping, convergence, and steps that are treated alike. */
import test from 'ava'
import fc from 'fast-check'
import { takesStep } from '#phyllo/data/pod-role.js'
import { type Player, Reassigner, type ReassignOptions } from '#phyllo/data/split/reassign.js'

type Step = 'prefill' | 'decode'
type Mutable = { -readonly [K in keyof Player]: Player[K] }

const options: ReassignOptions = {
  minPrefill: 1,
  minDecode: 1,
  hysteresis: 0.75,
  windowMs: 3000,
  cooldownMs: 5000,
}

const pod = (id: string, role: Player['role'], assigned?: Step, tokens = 0): Mutable => ({
  id,
  role,
  assigned,
  pendingTokens: tokens,
  activeTokens: tokens,
})
const bothPods = (count: number) => Array.from({ length: count }, (_, i) => pod(`p${i}`, 'both'))
const taking = (pods: readonly Player[], step: Step) => pods.filter(each => takesStep(each, step)).length

/** Lets it run for so many seconds, and answers the times of the changes. */
function run(
  reassigner: Reassigner,
  pods: Mutable[],
  ideal: (second: number) => number | undefined,
  seconds = 100,
  from = 0,
) {
  const times: number[] = []
  for (let second = from; second < from + seconds; second++) {
    for (const { pod: changed, to } of reassigner.next(second * 1000, ideal(second), pods)) {
      changed.assigned = to
      times.push(second * 1000)
    }
  }
  return times
}

test('a fleet of both is divided pod by pod, a cooldown apart, after the difference has lasted a window', t => {
  const pods = bothPods(4)
  const times = run(new Reassigner(options), pods, () => 1)
  t.deepEqual(times, [3000, 8000, 13_000, 18_000])
  t.deepEqual([taking(pods, 'prefill'), taking(pods, 'decode')], [1, 3])
})

test('a pod that is a fraction of each step keeps both', t => {
  const pods = bothPods(4)
  t.is(run(new Reassigner(options), pods, () => 1.5).length, 3)
  t.deepEqual([taking(pods, 'prefill'), taking(pods, 'decode')], [2, 3])
})

test('who leaves: one that takes both, with least to do of the step', t => {
  const pods = [
    pod('a', 'both', undefined, 9),
    pod('b', 'both', undefined, 5),
    pod('c', 'both', 'prefill', 1),
  ]
  const [change] = settle(pods, 0.5)
  t.like(change, { to: 'decode', reason: 'pressure', pod: { id: 'b' } })
  const divided = [
    pod('a', 'both', 'prefill', 9),
    pod('b', 'both', 'prefill', 5),
    pod('c', 'prefill', undefined, 1),
    pod('d', 'decode'),
  ]
  t.like(settle(divided, 1.5)[0], {
    to: 'decode',
    pod: { id: 'b' },
    why: '3 of 4 pods took prefill, for a share of 1.50',
  })
})

function settle(pods: readonly Player[], ideal: number) {
  const reassigner = new Reassigner(options)
  reassigner.next(0, ideal, pods)
  return reassigner.next(options.windowMs, ideal, pods)
}

test('a difference that goes away for a moment begins anew; so does one that turns round, and one that nobody knows', t => {
  for (const gap of [1.5, 3.5, undefined]) {
    const pods = [
      pod('a', 'both', 'prefill'),
      pod('b', 'both', 'prefill'),
      pod('c', 'both', 'decode'),
      pod('d', 'decode'),
    ]
    t.deepEqual(
      run(new Reassigner(options), pods, second => (second === 2 ? gap : 1), 6),
      [],
      String(gap),
    )
    t.deepEqual(
      run(new Reassigner(options), pods, () => 1, 6),
      [3000],
    )
  }
})

test('within the hysteresis nothing is moved, beyond it something is', t => {
  const pods = () => [pod('a', 'both', 'prefill'), pod('b', 'both', 'prefill'), pod('c', 'decode')]
  t.deepEqual(
    run(new Reassigner(options), pods(), () => 1.25),
    [],
  )
  t.deepEqual(
    run(new Reassigner(options), pods(), () => 1.24),
    [3000],
  )
})

test('where pods went away, those kept from their step get it back at once, cooldown or not', t => {
  const pods = bothPods(4)
  const reassigner = new Reassigner(options)
  run(reassigner, pods, () => 1, 19)
  const left = pods.filter(each => each.assigned === 'decode')
  t.is(left.length, 3)
  const [change, ...others] = reassigner.next(18_001, 1, left)
  t.like(change, { to: undefined, reason: 'bounds', why: '0 pods took prefill, and 1 must' })
  t.is(others.length, 0)
})

const role = fc.constantFrom<Player['role']>('both', 'both', 'both', 'prefill', 'decode')
const fleet = fc
  .array(fc.record({ role, tokens: fc.nat({ max: 1000 }) }), { minLength: 1, maxLength: 12 })
  .map(specs => specs.map((spec, i) => pod(`p${i}`, spec.role, undefined, spec.tokens)))
const bounds = fc.record({
  minPrefill: fc.integer({ min: 1, max: 3 }),
  minDecode: fc.integer({ min: 1, max: 3 }),
  hysteresis: fc.double({ min: 0.5, max: 2, noNaN: true }),
  windowMs: fc.integer({ min: 0, max: 5000 }),
  cooldownMs: fc.integer({ min: 0, max: 20_000 }),
})
const share = fc.double({ min: 0, max: 1, noNaN: true })

test('any load: one change per cooldown at most, and no step below its bound that could be above it', t => {
  fc.assert(
    fc.property(
      fleet,
      bounds,
      fc.array(fc.option(share, { nil: undefined }), { minLength: 1, maxLength: 200 }),
      (pods, given, trace) => {
        const least = { prefill: taking(pods, 'prefill'), decode: taking(pods, 'decode') }
        const reassigner = new Reassigner({ ...options, ...given })
        let last = Number.NEGATIVE_INFINITY
        for (const [second, value] of trace.entries()) {
          const ideal = value === undefined ? undefined : value * pods.length
          const changes = reassigner.next(second * 1000, ideal, pods)
          t.true(changes.length <= 1)
          for (const { pod: changed, to } of changes) {
            t.is(changed.role, 'both')
            t.true(second * 1000 - last >= given.cooldownMs)
            last = second * 1000
            changed.assigned = to
          }
          t.true(taking(pods, 'prefill') >= Math.min(given.minPrefill, least.prefill))
          t.true(taking(pods, 'decode') >= Math.min(given.minDecode, least.decode))
        }
      },
    ),
  )
})

test('any load, with pods that come and go: bounds hold after each look, as far as the pods there are can hold them', t => {
  const step = fc.record({ share, present: fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }) })
  fc.assert(
    fc.property(fleet, bounds, fc.array(step, { minLength: 1, maxLength: 100 }), (pods, given, trace) => {
      const reassigner = new Reassigner({ ...options, ...given })
      for (const [second, { share: value, present }] of trace.entries()) {
        const here = pods.filter((_, i) => present[i])
        for (const { pod: changed, to } of reassigner.next(second * 1000, value * here.length, here))
          changed.assigned = to
        for (const [kind, least] of [
          ['prefill', given.minPrefill],
          ['decode', given.minDecode],
        ] as const) {
          const able = here.filter(each => each.role === 'both' || each.role === kind).length
          t.true(taking(here, kind) >= Math.min(least, able))
        }
      }
    }),
  )
})

test('a constant load: it comes to rest after a change a pod at most, within the hysteresis or at a bound, and stays', t => {
  fc.assert(
    fc.property(fleet, bounds, share, (pods, given, value) => {
      const ideal = value * pods.length
      const reassigner = new Reassigner({ ...options, ...given, windowMs: 1000, cooldownMs: 2000 })
      const changes = run(reassigner, pods, () => ideal, 100)
      t.true(changes.length <= 2 * pods.length)
      t.deepEqual(
        run(reassigner, pods, () => ideal, 100, 100),
        [],
      )
      const excess = {
        prefill: taking(pods, 'prefill') - ideal,
        decode: taking(pods, 'decode') - (pods.length - ideal),
      }
      const worst: Step = excess.prefill >= excess.decode ? 'prefill' : 'decode'
      const movable = pods.some(each => each.role === 'both' && takesStep(each, worst))
      const atBound = taking(pods, worst) <= (worst === 'prefill' ? given.minPrefill : given.minDecode)
      t.true(excess[worst] <= given.hysteresis || atBound || !movable)
    }),
  )
})

test('a constant load never has a pod moved to a step and back', t => {
  fc.assert(
    fc.property(fleet, bounds, share, (pods, given, value) => {
      const reassigner = new Reassigner({ ...options, ...given, windowMs: 0, cooldownMs: 0 })
      const seen = new Map<string, Set<string>>()
      for (let second = 0; second < 100; second++) {
        for (const { pod: changed, to } of reassigner.next(second, value * pods.length, pods)) {
          const before = seen.get(changed.id) ?? new Set()
          t.false(before.has(String(to)))
          seen.set(changed.id, before.add(String(to)))
          changed.assigned = to
        }
      }
    }),
  )
})

test('prefill and decode are treated alike: turned round, the same pods move the other way', t => {
  const turn = (step: Player['role']): Player['role'] =>
    step === 'prefill' ? 'decode' : step === 'decode' ? 'prefill' : step
  // Shares that make neither excess equal to the other, where the tie has to go one way.
  const uneven = fc.double({ min: 0.001, max: 0.999, noNaN: true }).filter(value => {
    const twelfths = value * 27_720 * 2
    return Math.abs(twelfths - Math.round(twelfths)) > 1e-3
  })
  fc.assert(
    fc.property(fleet, bounds, fc.array(uneven, { minLength: 1, maxLength: 60 }), (pods, given, trace) => {
      const turned = pods.map((each): Mutable => ({ ...each, role: turn(each.role) }))
      const mirror = { ...given, minPrefill: given.minDecode, minDecode: given.minPrefill }
      const one = new Reassigner({ ...options, ...given })
      const two = new Reassigner({ ...options, ...mirror })
      for (const [second, value] of trace.entries()) {
        const ideal = value * pods.length
        const ones = one.next(second * 1000, ideal, pods)
        const twos = two.next(second * 1000, pods.length - ideal, turned)
        const shown = ones.map(({ pod: { id }, to }) => [id, to])
        t.deepEqual(
          twos.map(({ pod: { id }, to }) => [id, to === undefined ? to : turn(to)]),
          shown,
        )
        for (const { pod: changed, to } of ones) changed.assigned = to
        for (const { pod: changed, to } of twos) changed.assigned = to
      }
    }),
  )
})
