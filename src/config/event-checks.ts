/** Checks of the fleet's KV events; those of single pods are in data/pod-checks.ts. */
import { runsOut } from '../data/pod-checks.js'
import { portOf } from '../data/zmq-endpoint.js'
import type { ConfigPath } from '../yaml/issue.js'
import type { Finding } from '../yaml/wording.js'
import type { RouterConfig } from './schema.js'

export function checkKvEvents(config: RouterConfig): Finding[] {
  return [...replayAlone(config), ...portsRunOut(config), ...bindClashes(config)]
}

const finding = (path: ConfigPath, message: string, fix: string): Finding => ({
  path,
  at: 'value',
  message,
  fix,
})

/** Engines that dial in are asked there as well. */
function replayAlone({ kvEvents: { port, replayPort, bind } }: RouterConfig): Finding[] {
  if (port !== 0 || replayPort === 0 || bind.length > 0) return []
  const fix = 'set kvEvents.port too, or kvEvents.bind for engines that dial in'
  return [finding(['kvEvents', 'replayPort'], 'there are replays only of events', fix)]
}

/** Pods found by DNS have the fleet's ports. */
function portsRunOut({ discovery, kvEvents }: RouterConfig): Finding[] {
  return discovery.dns.flatMap(({ dataParallel }, i) =>
    (['port', 'replayPort'] as const).flatMap(field =>
      runsOut(
        ['discovery', 'dns', i, 'dataParallel'],
        kvEvents[field],
        dataParallel,
        ` by kvEvents.${field}`,
      ),
    ),
  )
}

function bindClashes({ kvEvents, listen, admin }: RouterConfig): Finding[] {
  const taken = new Map([
    [admin.port, 'admin.port'],
    [listen.port, 'listen.port'],
  ])
  return kvEvents.bind.flatMap((endpoint, i) => {
    const port = portOf(endpoint)
    const owner = taken.get(port)
    if (port === 0) return []
    taken.set(port, owner ?? `kvEvents.bind[${i}]`)
    if (owner === undefined) return []
    return [finding(['kvEvents', 'bind', i], `port ${port} is ${owner} already`, 'choose another port')]
  })
}
