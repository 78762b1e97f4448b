/** Models' files: paths made absolute, directories checked, templates read, before anything is started with them. */
import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { ConfigPath } from '../yaml/issue.js'
import { reason } from '../yaml/source.js'
import { type Finding, show } from '../yaml/wording.js'
import type { RouterConfig } from './schema.js'

type Model = RouterConfig['models'][number]

/** The models with absolute directories and with the text of their templates. Adds what is wrong to `findings`. */
export function resolveModelFiles(models: readonly Model[], baseDir: string, findings: Finding[]): Model[] {
  return models.map((model, index) => ({
    ...model,
    ...(model.dir === undefined
      ? {}
      : { dir: checkDir(model.dir, baseDir, ['models', index, 'dir'], findings) }),
    ...(model.chatTemplate === undefined
      ? {}
      : {
          chatTemplate: readTemplate(
            model.chatTemplate,
            baseDir,
            ['models', index, 'chatTemplate'],
            findings,
          ),
        }),
  }))
}

function checkDir(dir: string, baseDir: string, path: ConfigPath, findings: Finding[]): string {
  const absolute = resolve(baseDir, dir)
  const complain = (message: string, fix: string) => findings.push({ path, at: 'value', message, fix })
  const kind = kindOf(absolute)
  if (kind === 'file' && basename(absolute) === 'tokenizer.json') {
    complain(`${show(dir)} is a file`, `write its directory: ${dirname(dir)}`)
  } else if (kind !== 'directory') {
    const fault = kind === 'none' ? 'does not exist' : 'is no directory'
    complain(`${show(dir)} ${fault} (${absolute})`, "name the directory with the model's tokenizer.json")
  } else if (kindOf(join(absolute, 'tokenizer.json')) !== 'file') {
    complain(`${show(dir)} holds no tokenizer.json (${absolute})`, "copy the model's tokenizer files there")
  }
  return absolute
}

/** As vLLM's `--chat-template` does it: what looks like Jinja is the template itself, all else names a file. */
function readTemplate(text: string, baseDir: string, path: ConfigPath, findings: Finding[]): string {
  if (text.includes('{{') || text.includes('{%')) return text
  const absolute = resolve(baseDir, text)
  try {
    return readFileSync(absolute, 'utf8')
  } catch (error) {
    const message = `cannot read the chat template ${show(text)}: ${reason(error)} (${absolute})`
    findings.push({ path, at: 'value', message, fix: 'name a Jinja file, or write the template itself' })
    return text
  }
}

function kindOf(path: string): 'file' | 'directory' | 'none' {
  try {
    return statSync(path).isDirectory() ? 'directory' : 'file'
  } catch {
    return 'none'
  }
}
