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
    .action(async (options: { once: boolean }) => {
      const { runDemo } = await import('../../simulation/demo.js')
      await runDemo(options).catch((error: unknown) => {
        throw new CliFailure(`the demo failed: ${describeError(error)}`)
      })
      exitWith(0)
    })
}
