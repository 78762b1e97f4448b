/** Checks that need more than one field: names that must be unique or must exist, ports and paths that exclude. */
import { checkPods } from '../data/pod-checks.js'
import { isControlPath } from '../server/control-paths.js'
import type { ConfigPath } from '../yaml/issue.js'
import { type Finding, nearest } from '../yaml/wording.js'
import { checkKvEvents } from './event-checks.js'
import type { RouterConfig } from './schema.js'
import { checkWorkflows } from './workflows.js'

/** `profiles`: names of all profiles there are, built-in ones included. */
export function crossCheck(config: RouterConfig, profiles: readonly string[]): Finding[] {
  return [
    ...checkPods(config.pods, config.kvEvents, ['pods']),
    ...tooManyPods(config),
    ...duplicateModels(config),
    ...ownFallbacks(config),
    ...unknownVariants(config),
    ...unknownProfiles(config, profiles),
    ...checkWorkflows(config.workflows, profiles),
    ...duplicateDnsNames(config),
    ...checkKvEvents(config),
    ...slowerFast(config),
    ...portClashes(config),
    ...ownPods(config),
    ...closedPaths(config),
  ]
}

const finding = (path: ConfigPath, message: string, fix: string): Finding => ({
  path,
  at: 'value',
  message,
  fix,
})

function tooManyPods({ pods, cache }: RouterConfig): Finding[] {
  const count = pods.reduce((sum, { dataParallel }) => sum + dataParallel, 0)
  if (count <= cache.width) return []
  const room = [256, 1024].find(width => width >= count)
  const fix = room === undefined ? 'run several routers, 1024 pods each' : `write cache.width: ${room}`
  const what = count === pods.length ? 'pods' : 'pods, each rank of an engine being one'
  return [finding(['pods'], `${count} ${what}, but cache.width is ${cache.width}`, fix)]
}

function duplicateModels({ models }: RouterConfig): Finding[] {
  const owners = new Map<string, string>()
  const findings: Finding[] = []
  const claim = (name: string, path: ConfigPath, owner: string): void => {
    const other = owners.get(name)
    if (other === undefined) owners.set(name, owner)
    else
      findings.push(
        finding(path, `the name ${JSON.stringify(name)} belongs to ${other} already`, 'keep one of them'),
      )
  }
  // Names first: where an alias and a name collide, it is the alias that is wrong.
  models.forEach(({ name }, i) => {
    claim(name, ['models', i, 'name'], `models[${i}]`)
  })
  models.forEach(({ name, aliases }, i) => {
    if (name === '*' && aliases.length > 0) {
      findings.push(
        finding(['models', i, 'aliases'], 'the * entry stands for many models', 'leave its aliases out'),
      )
    }
    aliases.forEach((alias, j) => {
      claim(alias, ['models', i, 'aliases', j], `models[${i}]`)
    })
  })
  return findings
}

/** A fallback may be a model without an entry, which only its pods know of: so names are not checked. */
function ownFallbacks({ models }: RouterConfig): Finding[] {
  return models.flatMap(({ name, aliases, fallbacks }, i) => {
    const path = ['models', i, 'fallbacks']
    if (name === '*' && fallbacks.length > 0)
      return [finding(path, 'the * entry stands for many models', 'leave its fallbacks out')]
    const own = fallbacks.findIndex(fallback => fallback === name || aliases.includes(fallback))
    if (own === -1) return []
    return [
      finding([...path, own], `${JSON.stringify(name)} is no fallback for itself`, 'name another model'),
    ]
  })
}

function unknownVariants({ pods, discovery, models }: RouterConfig): Finding[] {
  const names = models.map(({ name }) => name).filter(name => name !== '*')
  const check = (variant: string | undefined, path: ConfigPath): Finding[] => {
    if (variant === undefined || names.includes(variant)) return []
    const guess = nearest(variant, names)
    const fix = guess === undefined ? `add it to models: with its dir and blockSize` : `write ${guess}`
    return [finding(path, `there is no models entry named ${JSON.stringify(variant)}`, fix)]
  }
  return [
    ...pods.flatMap(({ variant }, i) => check(variant, ['pods', i, 'variant'])),
    ...discovery.dns.flatMap(({ variant }, i) => check(variant, ['discovery', 'dns', i, 'variant'])),
  ]
}

function duplicateDnsNames({ discovery }: RouterConfig): Finding[] {
  const seen = new Map<string, number>()
  return discovery.dns.flatMap(({ type, name, port }, i) => {
    const key = `${type} ${name.toLowerCase().replace(/\.$/, '')}${type === 'SRV' ? '' : `:${port}`}`
    const other = seen.get(key)
    if (other === undefined) seen.set(key, i)
    if (other === undefined) return []
    const message = `${type} records of ${name} are asked for by discovery.dns[${other}] already`
    return [finding(['discovery', 'dns', i, 'name'], message, 'keep one of them')]
  })
}

function slowerFast({ scrape }: RouterConfig): Finding[] {
  if (scrape.intervalMs === 0 || scrape.fastMs <= scrape.intervalMs) return []
  const message = `pods near saturation would be looked at less often than others (${scrape.intervalMs} ms)`
  return [finding(['scrape', 'fastMs'], message, `write ${scrape.intervalMs} or less`)]
}

function unknownProfiles({ models, defaults }: RouterConfig, profiles: readonly string[]): Finding[] {
  const check = (name: string | undefined, path: ConfigPath): Finding[] => {
    if (name === undefined || profiles.includes(name)) return []
    const guess = nearest(name, profiles)
    const fix = guess === undefined ? `there are: ${profiles.join(', ')}` : `write ${guess}`
    return [finding(path, `there is no profile ${JSON.stringify(name)}`, fix)]
  }
  return [
    ...check(defaults.profile, ['defaults', 'profile']),
    ...models.flatMap(({ profile }, i) => check(profile, ['models', i, 'profile'])),
  ]
}

const everywhere = new Set(['0.0.0.0', '::'])

function portClashes({ listen, admin }: RouterConfig): Finding[] {
  const overlap = listen.host === admin.host || everywhere.has(listen.host) || everywhere.has(admin.host)
  if (listen.port === 0 || listen.port !== admin.port || !overlap) return []
  return [
    finding(['admin', 'port'], `listen.port is ${listen.port} already`, 'give the admin port another number'),
  ]
}

const loopback = /^https?:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]):(\d+)/

/** A pod that is the router itself would send each request round in circles. */
function ownPods({ pods, listen, admin }: RouterConfig): Finding[] {
  return pods.flatMap(({ url }, i) => {
    const port = Number(loopback.exec(url)?.[1])
    if (port !== listen.port && port !== admin.port) return []
    const own = port === listen.port ? 'listen.port' : 'admin.port'
    return [
      finding(['pods', i, 'url'], `${url} is the router itself (${own})`, "write the engine's own port"),
    ]
  })
}

function closedPaths({ passthrough }: RouterConfig): Finding[] {
  return passthrough.flatMap((path, i) => {
    if (!isControlPath(path)) return []
    const fix = "leave it out and use the engine's own port for it"
    return [finding(['passthrough', i], `${path} controls an engine and is never open to clients`, fix)]
  })
}
