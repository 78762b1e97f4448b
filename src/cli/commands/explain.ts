/** `phyllo explain FILE`: asks a running router how it would decide on a request. Nothing is sent to any pod. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { explanation } from '../explain/explanation.js'
import { explanationText } from '../explain/table.js'
import { CliFailure, describeError } from '../failure.js'
import { print } from '../output.js'

/** Tokenizing the longest prompts takes a second; a router that needs ten is not well. */
const TIMEOUT_MS = 10_000

export function addExplain(program: Command): void {
  program
    .command('explain')
    .description('Show how a running router decides on a request: candidates, filters, scores, pick.')
    .argument('<file>', 'request body as JSON; - reads standard input')
    .option('--admin <url>', 'admin port of the router', 'http://127.0.0.1:9090')
    .option(
      '--path <path>',
      'path that the request is meant for, such as /v1/completions (default: chat completions)',
    )
    .option('--profile <name>', "decide by this profile instead of the model's")
    .option(
      '--header <line>',
      'a request header, "name: value" (repeatable)',
      (line: string, before: string[]) => [...before, line],
      [],
    )
    .option('--json', 'print all of it as JSON', false)
    .action(async (file: string, options: ExplainFlags) => {
      const url = endpoint(options)
      const headers = headersOf(options.header)
      const answer = await ask(url, headers, await readBody(file))
      await print(`${options.json ? pretty(answer) : readable(answer)}\n`)
    })
}

interface ExplainFlags {
  readonly admin: string
  readonly path?: string
  readonly profile?: string
  readonly header: readonly string[]
  readonly json: boolean
}

function headersOf(lines: readonly string[]): Headers {
  const headers = new Headers({ 'content-type': 'application/json' })
  for (const line of lines) {
    const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):\s*(.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) {
      throw new CliFailure(`--header  expected "name: value", got ${JSON.stringify(line)}`, 2, 'lines')
    }
    headers.append(name, value)
  }
  return headers
}

function endpoint({ admin, path, profile }: ExplainFlags): URL {
  if (!URL.canParse(admin) || !/^https?:/.test(admin)) {
    throw new CliFailure(`--admin  expected an http(s) URL, got ${JSON.stringify(admin)}`, 2, 'lines')
  }
  const url = new URL(`${admin.replace(/\/+$/, '')}/explain`)
  if (path !== undefined) url.searchParams.set('path', path)
  if (profile !== undefined) url.searchParams.set('profile', profile)
  return url
}

async function readBody(file: string): Promise<string> {
  try {
    return await (file === '-' ? text(process.stdin) : readFile(file, 'utf8'))
  } catch (error) {
    throw new CliFailure(`cannot read the request: ${describeError(error)}`)
  }
}

async function ask(url: URL, headers: Headers, body: string): Promise<string> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const answer = await response.text()
    if (response.ok) return answer
    throw new CliFailure(`the router answered ${response.status}: ${messageOf(answer)}`)
  } catch (error) {
    if (error instanceof CliFailure) throw error
    throw new CliFailure(
      `cannot ask ${url.origin}: ${describeError(error)}; is the router running, and is this its admin port?`,
    )
  }
}

function parsed(answer: string): unknown {
  try {
    return JSON.parse(answer)
  } catch {
    return undefined
  }
}

/** The message of an OpenAI-style error body; otherwise the body's beginning. */
function messageOf(answer: string): string {
  const body = parsed(answer)
  const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : undefined
  const message =
    typeof error === 'object' && error !== null && 'message' in error ? error.message : undefined
  return typeof message === 'string' ? message : answer.slice(0, 200)
}

function pretty(answer: string): string {
  const body = parsed(answer)
  return body === undefined ? answer : JSON.stringify(body, null, 2)
}

/** The table; of a router of another version, which may say it otherwise, what it said. */
function readable(answer: string): string {
  const explained = explanation.safeParse(parsed(answer))
  return explained.success ? explanationText(explained.data) : pretty(answer)
}
