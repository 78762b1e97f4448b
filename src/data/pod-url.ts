/** A pod's URL, taken apart and judged, with an answer that says what to write instead. */

export interface PodUrl {
  /** Scheme, host and port: `http://10.0.0.1:8000`. */
  readonly origin: string
  /** Path before `/v1/…`, without a trailing slash; mostly empty. */
  readonly basePath: string
}

/** Why a text is no pod URL, and what to write instead. */
export interface PodUrlFault {
  readonly fault: string
  readonly fix?: string
}

/** Hosts as people type them without a scheme: `host:8000`, `10.0.0.1:8000`, `[::1]:8000`. */
const bareHost = /^(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:\/.*)?$/
const httpScheme = /^https?:\/\//i

/** Takes a pod URL apart. The path may hold only a base path: requests bring `/v1/…` themselves. */
export function parsePodUrl(text: string): PodUrl | PodUrlFault {
  // URL would quietly drop blanks and line breaks, and read "http:host" as "http://host".
  const url = httpScheme.test(text) && !/\s/.test(text) && URL.canParse(text) ? new URL(text) : null
  if (url === null) {
    const fix = bareHost.test(text) ? suggestHost(text) : 'write http://host:8000'
    return { fault: `expected an http(s) URL, got ${JSON.stringify(text)}`, fix }
  }
  if (url.username !== '' || url.password !== '') {
    return { fault: 'a pod URL holds no user name or password', fix: `write ${url.origin}` }
  }
  if (url.search !== '' || url.hash !== '') {
    return {
      fault: 'a pod URL holds no query and no fragment',
      fix: `write ${url.origin}${trim(url.pathname)}`,
    }
  }
  const basePath = trim(url.pathname)
  if (/(?:^|\/)v1(?:\/|$)/.test(basePath)) {
    const below = basePath.replace(/\/?v1(?:\/.*)?$/, '')
    return {
      fault: 'a pod URL ends before /v1: requests bring it themselves',
      fix: `write ${url.origin}${below}`,
    }
  }
  return { origin: url.origin, basePath }
}

/** The id of a pod that was given none: what tells its URL from others, without the scheme. */
export function podIdOf({ origin, basePath }: PodUrl): string {
  const { host, protocol } = new URL(origin)
  // URL drops a scheme's own port, but the id should show where the pod listens.
  const port = /:\d+$/.test(host) ? '' : protocol === 'https:' ? ':443' : ':80'
  return `${host}${port}${basePath}`
}

const trim = (path: string): string => path.replace(/\/+$/, '')

function suggestHost(text: string): string {
  const hasPort = /:\d{1,5}(?:\/|$)/.test(text)
  return hasPort ? `write http://${text}` : `write http://${text.replace(/\/.*$/, '')}:8000`
}
