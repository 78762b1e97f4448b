import { filter, noOptions } from '../../factories.js'

/** Values of the breaker column; see LOAD.breaker. */
const OPEN = 1
const PROBING = 3

/**
 * Keeps pods whose breaker is closed, or half open with its probe free: this request may then be the probe. Which one
 * gets it is settled by the booking, so two requests that both see it free do not both go.
 */
export const circuitClosed = filter({
  name: 'circuit-closed',
  summary: 'Drops pods whose circuit breaker is open (failures in a row, or first bytes far too late).',
  why: ({ load }) =>
    load.breaker === OPEN
      ? 'its circuit is open'
      : 'its circuit is half open, and another request is the probe',
  options: noOptions,
  build: (_, { lane }) => {
    const { breaker } = lane
    return (_ctx, pods, keep) => {
      for (let i = 0; i < pods.length; i++) {
        const state = breaker[pods.slots[i] ?? 0]
        if (state === OPEN || state === PROBING) keep[i] = 0
      }
    }
  },
})
