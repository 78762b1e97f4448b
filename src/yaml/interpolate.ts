// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/**
 * Environment variables in values: `${NAME}` and `${NAME:-fallback}`, as shells have them; the fallback also stands
 * in for an empty variable. `$${` is a literal `${`. A variable without value and fallback is an error, never an empty
 * text: a router that starts with a half-written URL helps nobody.
 */

export type Environment = Readonly<Record<string, string | undefined>>

export type Interpolated =
  | { readonly text: string }
  /** `offset` is where in the text the bad reference begins. */
  | { readonly fault: string; readonly fix: string; readonly offset: number }

// The body stops at the first brace, so a fallback cannot hold one: enough for hosts, ports and paths.
const reference = /\$\$\{|\$\{([^{}]*)(\}?)/g
const form = /^([A-Za-z_]\w*)(?::-(.*))?$/s

export function interpolate(text: string, env: Environment): Interpolated {
  let out = ''
  let end = 0
  for (const match of text.matchAll(reference)) {
    const [whole, body = '', closing] = match
    out += text.slice(end, match.index)
    end = match.index + whole.length
    if (whole === '$${') {
      out += '${'
      continue
    }
    const [, name, fallback] = form.exec(body) ?? []
    if (name === undefined || closing !== '}') {
      const fix = 'write ${NAME} or ${NAME:-fallback}, or $${ for a literal ${'
      return {
        fault: `${JSON.stringify(whole)} is no reference to an environment variable`,
        fix,
        offset: match.index,
      }
    }
    // Own properties only: even process.env inherits `constructor`.
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if ((value === undefined || value === '') && fallback !== undefined) out += fallback
    else if (value !== undefined) out += value
    else {
      const fix = `set it, or write \${${name}:-fallback}`
      return { fault: `the environment variable ${name} is not set`, fix, offset: match.index }
    }
  }
  return { text: out + text.slice(end) }
}
