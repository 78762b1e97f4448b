/** How each model's pods are divided into prefill and decode: part of `GET /pods`, and `POST /reassign/{on,off}`. */
import type { ModelSplit } from '../../telemetry/split-metrics.js'
import type { AdminAnswer, AdminDeps, AdminRoute } from './admin.js'

/** Demand and shares are in pods; null: not known. */
export function showSplits({ splits }: Pick<AdminDeps, 'splits'>) {
  return { reassign: splits.enabled, models: splits.status().map(showSplit) }
}

function showSplit({ demand, pressure, recommended, whyNone, ...split }: ModelSplit) {
  return {
    ...split,
    demand: { prefill: shown(demand.prefill), decode: shown(demand.decode) },
    pressure: { prefill: shown(pressure.prefill), decode: shown(pressure.decode) },
    recommended: recommended === undefined ? null : { ...recommended, ideal: shown(recommended.ideal) },
    whyNone: whyNone ?? null,
  }
}

/** To a thousandth of a pod. */
const shown = (pods: number | undefined): number | null =>
  pods === undefined ? null : Math.round(pods * 1000) / 1000

export function splitRoutes(deps: AdminDeps): [string, RegExp, AdminRoute][] {
  const turn = async (on: boolean): Promise<AdminAnswer> => {
    await deps.splits.enable(on)
    return { status: 200, body: showSplits(deps) }
  }
  return [
    ['POST', /^\/reassign\/on$/, () => turn(true)],
    ['POST', /^\/reassign\/off$/, () => turn(false)],
  ]
}
