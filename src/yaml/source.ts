/** A file's bytes as text, and complaints about its data as issues with their places. */
import { type Issue, pathText } from './issue.js'
import type { Finding } from './wording.js'
import type { YamlData } from './yaml.js'

/** Four times the size of a file with 1,024 pods, each with labels: more is some other file. */
export const MAX_SOURCE_BYTES = 4 * 1024 * 1024

/** The text of a file, or why it has none. */
export function decodeSource(
  source: string | Uint8Array,
  file: string,
): { readonly text: string } | { readonly fault: Issue } {
  if (source.length > MAX_SOURCE_BYTES)
    return {
      fault: { ...atStart(file), message: `larger than ${MAX_SOURCE_BYTES} bytes: not a configuration` },
    }
  if (typeof source === 'string') return { text: source }
  const text = new TextDecoder().decode(source)
  return isUtf8(source) ? { text } : { fault: badEncoding(file, text) }
}

/** A finding with the place that it is about. */
export function issueOf({ path, at, message, fix }: Finding, file: string, yaml: YamlData): Issue {
  const place = at === 'key' ? yaml.keyPlace(path) : yaml.valuePlace(path)
  return { file, ...place, path: pathText(path), message, ...(fix === undefined ? {} : { fix }) }
}

const atStart = (file: string) => ({ file, line: 0, column: 0, path: '' })

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}

/** Points at the first character that could not be decoded. */
function badEncoding(file: string, text: string): Issue {
  const before = text.slice(0, text.indexOf('\uFFFD'))
  const line = before.split('\n').length
  const column = before.length - before.lastIndexOf('\n')
  return { file, line, column, path: '', message: 'the file is not UTF-8', fix: 'save it as UTF-8' }
}

/** `no such file`, `EACCES`, …: the system's reason without its path. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? String(error.code) : error.message
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'it is a directory'
  if (code === 'EACCES') return 'no permission'
  return code
}
