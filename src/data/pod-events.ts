/** Where a pod publishes its KV events: as an operator says, for one pod or for the whole fleet. */
import { endpointOfRank } from './zmq-endpoint.js'

/** ZMQ endpoints of an engine's publisher; rank r of a data-parallel engine is at port + r. */
export interface KvEventsSpec {
  /** `tcp://host:port` or `ipc://path` that the router connects to. */
  readonly endpoint: string
  /** The same for asking for batches again; absent: what was lost cannot be had again. */
  readonly replay?: string | undefined
  /** Topic prefix to subscribe to; empty: all. */
  readonly topic: string
  /** Sequence number of a publisher's first batch. */
  readonly firstSequence: number
}

/** KV events of the pods that have none of their own. */
export interface FleetKvEvents {
  /** Port on the pod's host that it publishes on; 0 = none. */
  readonly port: number
  /** Port on the pod's host that replays are asked of; 0 = none. */
  readonly replayPort: number
  readonly topic: string
  readonly firstSequence: number
}

export const NO_KV_EVENTS: FleetKvEvents = { port: 0, replayPort: 0, topic: '', firstSequence: 0 }

/** Where the rank of a pod at `origin` publishes; undefined if nowhere. */
export function kvEventsOf(
  own: KvEventsSpec | undefined,
  fleet: FleetKvEvents,
  origin: string,
  rank: number,
): KvEventsSpec | undefined {
  const spec = own ?? fleetSpec(fleet, new URL(origin).hostname)
  if (spec === undefined) return undefined
  const { replay } = spec
  return {
    ...spec,
    endpoint: endpointOfRank(spec.endpoint, rank),
    ...(replay === undefined ? {} : { replay: endpointOfRank(replay, rank) }),
  }
}

function fleetSpec(fleet: FleetKvEvents, host: string): KvEventsSpec | undefined {
  const { port, replayPort, topic, firstSequence } = fleet
  if (port === 0) return undefined
  const replay = replayPort === 0 ? {} : { replay: `tcp://${host}:${replayPort}` }
  return { endpoint: `tcp://${host}:${port}`, ...replay, topic, firstSequence }
}
