/** `phyllo demo`: simulated engines behind the real router, on recorded conversations. */
import type { Command } from 'commander'
import { CliFailure, describeError } from '../failure.js'
import { exitWith } from '../lifecycle.js'

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'Replay recorded conversations through the router to four simulated engines, and compare profiles.',
    )
    .option('--once', 'exit after the table instead of serving on', false)
    .option(
      '--exact',
      'compare instead, with caches too small for all: routing by what was sent with routing by KV events; exits after the table',
      false,
    )
    .action(async (options: { once: boolean; exact: boolean }) => {
      await (options.exact ? exact() : profiles(options)).catch((error: unknown) => {
        throw new CliFailure(`the demo failed: ${describeError(error)}`)
      })
      exitWith(0)
    })
}

async function profiles(options: { once: boolean }): Promise<void> {
  const { runDemo } = await import('../../simulation/demo.js')
  await runDemo(options)
}

async function exact(): Promise<void> {
  const { runExactDemo } = await import('../../simulation/exact-demo.js')
  await runExactDemo()
}
