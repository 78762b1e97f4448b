/** A native state of which a logged decision needs no more than its width and what was known of caches. */
import { MAX_SLOTS, type SharedState } from '../../data/native.js'

const absent = (name: string) => (): never => {
  throw new Error(`a logged decision has no ${name}`)
}

export function loggedState(now: () => number, cacheStatus: SharedState['cacheStatus']): SharedState {
  return {
    width: MAX_SLOTS,
    now,
    cacheStatus,
    addPod: absent('addPod'),
    activatePod: absent('activatePod'),
    cordonPod: absent('cordonPod'),
    removePod: absent('removePod'),
    releasePod: absent('releasePod'),
    podStatus: absent('podStatus'),
    addModel: absent('addModel'),
    addModelAsync: absent('addModelAsync'),
    loadModel: absent('loadModel'),
    modelFallback: absent('modelFallback'),
    setTime: absent('setTime'),
    stats: absent('stats'),
    forgetPredicted: absent('forgetPredicted'),
    podLost: absent('podLost'),
    setPodCache: absent('setPodCache'),
    setEngineLoad: absent('setEngineLoad'),
    setChains: absent('setChains'),
    clearPredicted: absent('clearPredicted'),
  }
}
