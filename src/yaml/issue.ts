/** What is wrong with a configuration: where, what, and what to write instead. */

/** A place in the configuration: keys and indices from the root. */
export type ConfigPath = readonly (string | number)[]

export interface Issue {
  /** The file, as it was named; or the command-line flag, if that brought the value. */
  readonly file: string
  /** From 1; 0 where there is no line to name: a flag, or a file that cannot be read. */
  readonly line: number
  /** From 1, in UTF-16 units as editors count; 0 with line 0. */
  readonly column: number
  /** `pods[1].url`; empty for the file as a whole. */
  readonly path: string
  /** One sentence without a full stop. */
  readonly message: string
  /** What to do about it, as an imperative: `write http://host:8000`. */
  readonly fix?: string
}

/** `pods[1].url`; keys that are no plain words are quoted: `profiles["my profile"]`. */
export function pathText(path: ConfigPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (!/^[\w-]+$/.test(part)) text += `[${JSON.stringify(part)}]`
    else text += text === '' ? part : `.${part}`
  }
  return text
}

/** One line an issue: `phyllo.yaml:12:5  pods[1].url  expected an http(s) URL, got "foo" — write http://host:8000`. */
export function formatIssues(issues: readonly Issue[]): string {
  return issues.map(formatIssue).join('\n')
}

function formatIssue({ file, line, column, path, message, fix }: Issue): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`
  const parts = path === '' ? [place, message] : [place, path, message]
  return fix === undefined ? parts.join('  ') : `${parts.join('  ')} — ${fix}`
}
