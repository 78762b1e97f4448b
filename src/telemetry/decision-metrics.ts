/** Metrics of the decision log. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { DropCause } from './decision-log/channel.js'

/** What they are read from; undefined where no log is kept. */
export interface DecisionLogSource {
  decisionLog():
    | { readonly written: number; readonly pendingBytes: number; dropped(cause: DropCause): number }
    | undefined
}

const CAUSES: readonly DropCause[] = ['no_room', 'not_written']

export function decisionMetrics(registry: Registry, source: DecisionLogSource): void {
  const registers = [registry]
  new Counter({
    name: 'phyllo_decision_log_lines_total',
    help: 'Decisions written to the decision log.',
    registers,
    collect() {
      this.reset()
      this.inc(source.decisionLog()?.written ?? 0)
    },
  })
  new Counter({
    name: 'phyllo_decision_log_dropped_total',
    help: 'Sampled decisions that are in no file: too many waited for the disk (no_room), or it refused them (not_written).',
    labelNames: ['cause'],
    registers,
    collect() {
      this.reset()
      for (const cause of CAUSES) this.inc({ cause }, source.decisionLog()?.dropped(cause) ?? 0)
    },
  })
  new Gauge({
    name: 'phyllo_decision_log_pending_bytes',
    help: 'Lines of the decision log that wait to be written.',
    registers,
    collect() {
      this.set(source.decisionLog()?.pendingBytes ?? 0)
    },
  })
}
