/** Runs simulations for the bench in a process of its own: one per core. */
import { answerOrders } from '../lib/orders.js'
import { capacity, type Outcome, type Run, run, type Setting } from './cells.js'

export type Order =
  | { readonly type: 'run'; readonly run: Run; readonly quick: boolean }
  | { readonly type: 'capacity'; readonly setting: Setting; readonly quick: boolean }

/** Of a run its outcome, of a search the rate. */
export type Answer = Outcome | number

answerOrders(
  (order: Order): Promise<Answer> =>
    order.type === 'run' ? run(order.run, order.quick) : capacity(order.setting, order.quick),
)
