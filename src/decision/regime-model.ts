/**
 * What a request's tokens take on a fleet whose pods do all, and on the same fleet with prefills and answers apart: how
 * many times as long as on a pod of its own that has no context to read.
 *
 * A step of a decode pod reads the weights and what its requests hold; the pods share requests evenly, as any profile
 * that looks at load has them do. Of so many that are answered at a time, `busy` of them where it matters:
 *
 *     apart:     1 + held · (1 + companions on a decode pod)
 *     together:  1 + held · (1 + companions on any pod) + stalls
 *     stalls:    prefills · (requests on the pod where a new one comes) / demand
 *
 * `held`: what a request holds, over what is read as fast as the weights. A prompt of thousands of tokens stalls all that
 * decode beside it. While there are fewer requests than pods, each has a pod of its own in both ways, and nobody is
 * stalled: that is why all pods together win at low load, whatever the lengths. How many are answered at a time follows
 * from how long they take (Little, 1961), which is the fixed point that is looked for.
 */

/** What a model's requests ask for. Numbers are means over time. */
export interface Demand {
  /** Prompts that would be computed at a time if none waited: pods' worth of prefill. */
  readonly prefills: number
  /** Requests that would be answered at a time if each took only what it takes alone, its context unread. */
  readonly answers: number
  /** What a request holds in the KV cache, over the tokens that are read as fast as the weights. */
  readonly held: number
}

/** Steps to the fixed point; from below, so that what is not reached is beyond all that matters. */
const STEPS = 64
const EXACT = 1e-3
/** A fleet on which requests take so many times as long serves nobody. */
export const HOPELESS = 100
/** Standard deviations above the mean: nine moments in ten have fewer requests. Of Poisson numbers, near enough. */
const BUSY = 1.28

/** Requests that share a pod with one of `requests`, on average, where `pods` share them evenly. */
export function companions(requests: number, pods: number): number {
  if (requests <= 1) return 0
  const each = Math.floor(requests / pods)
  const rest = requests - each * pods
  return (rest * (each + 1) * each + (pods - rest) * each * (each - 1)) / requests
}

const busy = (mean: number, deviations: number): number => mean + deviations * Math.sqrt(mean)

/** On `pods` that do nothing but decode. `deviations`: how busy the moment is. */
export function slowdownApart({ answers, held }: Demand, pods: number, deviations = BUSY): number {
  if (pods < 1) return HOPELESS
  let slowdown = 1
  for (let step = 0; step < STEPS; step++) {
    const next = 1 + held * (1 + companions(busy(answers * slowdown, deviations) + 1, pods))
    if (next > HOPELESS) return HOPELESS
    if (next - slowdown < EXACT) return next
    slowdown = next
  }
  return slowdown
}

/** The same on `pods` that do both. */
export function slowdownTogether(
  { prefills, answers, held }: Demand,
  pods: number,
  deviations = BUSY,
): number {
  if (pods < 1) return HOPELESS
  let slowdown = 1
  for (let step = 0; step < STEPS; step++) {
    const requests = busy(prefills + answers * slowdown, deviations)
    // Between none and one on each pod, and so on: on the way from n to n + 1 each, half of the new ones meet n.
    const stalls = (prefills / Math.max(answers, EXACT)) * Math.max(0, requests / pods - 0.5)
    const next = 1 + held * (1 + companions(requests + 1, pods)) + stalls
    if (next > HOPELESS) return HOPELESS
    if (next - slowdown < EXACT) return next
    slowdown = next
  }
  return slowdown
}

/** Requests that are answered at a time on `pods` that do nothing but decode, on average. */
export const answeredApart = (demand: Demand, pods: number): number =>
  demand.answers * slowdownApart(demand, pods, 0)
