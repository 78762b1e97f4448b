/** `phyllo replay LOG --profile P`: what another profile would have decided on each logged state. */
import type { Command } from 'commander'
import { Dice } from '../../decision/dice.js'
import type { Profile } from '../../decision/profile.js'
import { Comparison, type ReplaySummary } from '../../decision/record/compare.js'
import { ownKeyOptions, unknownSlots } from '../../decision/record/replayed-profile.js'
import { Replayer } from '../../decision/record/replayer.js'
import { CliFailure, describeError } from '../failure.js'
import { print } from '../output.js'
import { profileNamed } from '../profile-source.js'
import { type BadLine, logLines } from '../replay/lines.js'
import { type ReplayReport, replayText } from '../replay/report.js'

/** Bad lines that are named; the rest are counted. */
const NAMED = 20

export function addReplay(program: Command): void {
  program
    .command('replay')
    .description(
      'Decide again on a decision log by another profile, and show what would have been different.',
    )
    .argument('<log...>', 'decision logs, oldest first; - reads standard input')
    .requiredOption('--profile <profile>', 'name of a profile, or a YAML file with one')
    .option('--config <file>', 'configuration file whose profiles and plugins can be named')
    .option('--json', 'print JSON', false)
    .action(async (files: string[], flags: ReplayFlags) => {
      const report = await replay(files, profileNamed(flags.profile, flags.config))
      await print(`${flags.json ? JSON.stringify(report, null, 2) : replayText(report)}\n`)
      if (report.decisions === 0) throw new CliFailure('there is no decision to replay')
    })
}

interface ReplayFlags {
  readonly profile: string
  readonly config?: string
  readonly json: boolean
}

async function replay(files: readonly string[], profile: Profile): Promise<ReplayReport> {
  const unknown = unknownSlots(profile)
  if (unknown.length > 0) {
    const list = unknown.map(({ plugin, slot }) => `plugin '${plugin}' makes '${slot}'`).join(', ')
    throw new CliFailure(`--profile  ${list} of the request itself, which no log holds`, 1, 'lines')
  }
  // The same chance on every run, so that two runs can be compared.
  const dice = new Dice(() => 0.5)
  const replayer = new Replayer(profile, () => dice.roll(2 ** 31) / 2 ** 31)
  const comparison = new Comparison()
  const bad: BadLine[] = []
  const failed = new Map<string, number>()
  let badLines = 0
  for (const file of files) {
    for await (const line of logLines(file)) {
      if ('bad' in line) {
        if (badLines++ < NAMED) bad.push(line.bad)
        continue
      }
      try {
        comparison.add(line.record, replayer.decide(line.record))
      } catch (error) {
        const reason = describeError(error)
        failed.set(reason, (failed.get(reason) ?? 0) + 1)
      }
    }
  }
  const summary = comparison.summary()
  return {
    profile: profile.name,
    ...summary,
    badLines: { count: badLines, first: bad },
    failed: Object.fromEntries(failed),
    notes: notes(summary, profile),
  }
}

/** Workflows whose one step selects with the profile itself. */
const ONE_STEP: readonly string[] = ['single', 'hedged']

/** What cannot be the same as it would have been in the router. */
function notes(summary: ReplaySummary, profile: Profile): string[] {
  const { newDraws, unknownSessions, missingParts, cachedTokens, decisions } = summary
  const ownKeys = ownKeyOptions(profile)
  const isSticky = profile.prepare.some(({ writes }) => writes.some(({ name }) => name === 'sessionKey'))
  const isMatching = profile.prepare.some(({ writes }) => writes.some(({ name }) => name === 'cachedTokens'))
  const known = Object.keys(summary.loggedProfiles)
  const isOther = known.some(name => name !== profile.name)
  return [
    ...(isOther
      ? [
          'Each state is as the logged decisions made it: loads and caches do not follow the other picks (phyllo simulate does that).',
        ]
      : []),
    ...(ONE_STEP.includes(profile.execute.name)
      ? []
      : [
          `The profile is served by workflow '${profile.execute.name}': one pick of each request is decided again, by this profile; its choice, its steps and their profiles are not.`,
        ]),
    ...(newDraws > 0
      ? [`${newDraws} decisions drew numbers or took turns that the log does not hold; they were drawn anew.`]
      : []),
    ...(isSticky && unknownSessions > 0
      ? [
          `${unknownSessions} decisions have a session of which the log does not say where it lived: it lives where this replay last put it, and sessions from before the log, or between sampled requests, are not known.`,
        ]
      : []),
    ...(isMatching && cachedTokens.unknown > 0
      ? [
          `${cachedTokens.unknown} of ${decisions} decisions do not tell what pods had cached: nothing is assumed.`,
        ]
      : []),
    ...Object.entries(missingParts).map(
      ([part, count]) =>
        `${count} decisions needed ${part}, which the log does not hold: it was as if there were none.`,
    ),
    ...ownKeys.map(
      plugin =>
        `'${plugin}' makes keys by options of its own, from the request: the keys are those of the log, made by its profile or by the defaults.`,
    ),
  ]
}
