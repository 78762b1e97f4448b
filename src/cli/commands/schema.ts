/** `phyllo schema`: the configuration's JSON Schema, for editors. */
import type { Command } from 'commander'
import { editorSchema } from '../../config/editor-schema.js'
import { print } from '../output.js'

export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('Print the JSON Schema of the configuration file (draft 2020-12), for editors.')
    .addHelpText(
      'after',
      '\nWith the YAML language server (VS Code and others):\n' +
        '  phyllo schema > phyllo.schema.json\n' +
        '  and as the first line of phyllo.yaml:\n' +
        '  # yaml-language-server: $schema=./phyllo.schema.json',
    )
    .action(() => print(`${JSON.stringify(editorSchema(), null, 2)}\n`))
}
