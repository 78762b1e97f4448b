/** What is wrong with the configured workflows that their schema can't tell: names, order, who answers. */

import { fallbackFaults } from './fallback-faults.js'
import { type DescribedFault, type FaultPath as Path, unknown } from './fault.js'
import { overlaps } from './overlaps.js'
import { type DescribedStep, type DescribedWorkflow, type DescribedWorkflows, stagesOf } from './schema.js'

/** A step and where it stands. */
interface Placed {
  readonly step: DescribedStep
  readonly stage: number
  readonly path: Path
}

/** Headers whose values the router writes itself, since they frame the message. */
const FRAMING = [
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'expect',
  'upgrade',
  'te',
  'trailer',
]

/** `profiles`, `builtIn`: names of all profiles, and of the workflows that ship. */
export function describedFaults(
  workflows: DescribedWorkflows,
  profiles: readonly string[],
  builtIn: readonly string[],
): DescribedFault[] {
  const names = [...builtIn, ...Object.keys(workflows)]
  return Object.entries(workflows).flatMap(([name, workflow]) => {
    const taken = builtIn.includes(name)
      ? [
          {
            path: [name],
            message: `the workflow '${name}' ships with the router`,
            fix: 'give yours another name',
          },
        ]
      : []
    return [
      ...taken,
      ...new Checker(name, workflow, profiles).faults(),
      ...fallbackFaults(name, workflows, names),
    ]
  })
}

class Checker {
  readonly #placed: readonly Placed[]
  readonly #last: number

  constructor(
    private readonly name: string,
    private readonly workflow: DescribedWorkflow,
    private readonly profiles: readonly string[],
  ) {
    this.#last = workflow.steps.length - 1
    this.#placed = workflow.steps.flatMap((entry, stage): Placed[] =>
      'together' in entry
        ? entry.together.map((step, i) => ({ step, stage, path: [name, 'steps', stage, 'together', i] }))
        : [{ step: entry, stage, path: [name, 'steps', stage] }],
    )
  }

  faults(): DescribedFault[] {
    return [
      ...this.#placed.flatMap((placed, i) => [
        ...this.#nameTwice(placed, i),
        ...this.#profile(placed),
        ...this.#output(placed),
        ...this.#restart(placed),
        ...this.#skipping(placed),
        ...this.#values(placed),
        ...this.#headers(placed),
        ...this.#hedge(placed),
        ...overlaps(placed.step, placed.path),
      ]),
      ...this.#answers(),
      ...this.#choice(),
    ]
  }

  get #names(): readonly string[] {
    return this.#placed.map(({ step }) => step.name)
  }

  #find(name: string): Placed | undefined {
    return this.#placed.find(({ step }) => step.name === name)
  }

  #nameTwice({ step, path }: Placed, i: number): DescribedFault[] {
    if (this.#names.indexOf(step.name) === i) return []
    return [
      { path: [...path, 'name'], message: `two steps are named '${step.name}'`, fix: 'rename one of them' },
    ]
  }

  #profile({ step, path }: Placed): DescribedFault[] {
    const { profile } = step
    if (profile === undefined || this.profiles.includes(profile)) return []
    return [unknown([...path, 'profile'], `there is no profile '${profile}'`, profile, this.profiles)]
  }

  #output({ step, stage, path }: Placed): DescribedFault[] {
    const at = [...path, 'output']
    if (step.output === 'relay' && stage < this.#last) {
      return [
        {
          path: at,
          message: 'only a step of the last stage can relay its answer',
          fix: 'write keep or drain',
        },
      ]
    }
    const keeps = Object.keys(step.keep)
    if (keeps.length > 0 && (stage === this.#last || (step.output ?? 'keep') !== 'keep')) {
      const why =
        stage === this.#last ? 'no step comes after it' : `its answer is not kept (output: ${step.output})`
      return [
        { path: [...path, 'keep'], message: `nobody can read what is kept: ${why}`, fix: 'leave keep out' },
      ]
    }
    return []
  }

  #restart({ step, stage, path }: Placed): DescribedFault[] {
    const { restartAt } = step
    if (restartAt === undefined) return []
    const at = [...path, 'restartAt']
    const target = this.#find(restartAt)
    if (target === undefined) return [unknown(at, `there is no step '${restartAt}'`, restartAt, this.#names)]
    if (target.stage <= stage) return []
    return [{ path: at, message: `step '${restartAt}' comes later`, fix: 'name this step or an earlier one' }]
  }

  #skipping({ step, stage, path }: Placed): DescribedFault[] {
    const isAlone = this.#placed.filter(other => other.stage === stage).length === 1
    if (!step.optional || (isAlone && stage < this.#last)) return []
    const message = 'only a step that has its stage to itself, before the last, can be left out'
    return [{ path: [...path, 'optional'], message, fix: 'leave optional out' }]
  }

  #values(placed: Placed): DescribedFault[] {
    const { step, path } = placed
    return (['set', 'headers'] as const).flatMap(place =>
      Object.entries(step.request[place]).flatMap(([field, value]) => {
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
        const at = [...path, 'request', place, field]
        if (value.from !== undefined) return this.#from(value.from, placed, [...at, 'from'])
        return value.pod === undefined ? [] : this.#pod(value.pod, placed, [...at, 'pod'])
      }),
    )
  }

  #from(from: string, { stage }: Placed, path: Path): DescribedFault[] {
    const [name = '', value = ''] = from.split('.')
    const source = this.#find(name)
    if (source === undefined) return [unknown(path, `there is no step '${name}'`, name, this.#names)]
    if (source.stage >= stage) {
      const when = source.stage === stage ? 'runs at the same time' : 'comes later'
      return [
        { path, message: `step '${name}' ${when}: its answer is not known yet`, fix: 'name an earlier step' },
      ]
    }
    const kept = Object.keys(source.step.keep)
    return kept.includes(value) ? [] : [unknown(path, `step '${name}' does not keep '${value}'`, value, kept)]
  }

  #pod(name: string, { stage }: Placed, path: Path): DescribedFault[] {
    const source = this.#find(name)
    if (source === undefined) return [unknown(path, `there is no step '${name}'`, name, this.#names)]
    if (source.stage <= stage || this.workflow.picksAhead) return []
    const message = `step '${name}' comes later: its pod is not picked yet`
    return [{ path, message, fix: 'write picksAhead: true for the workflow' }]
  }

  #headers({ step, path }: Placed): DescribedFault[] {
    return Object.keys(step.request.headers)
      .filter(name => FRAMING.includes(name))
      .map(name => ({
        path: [...path, 'request', 'headers', name],
        message: `the router writes ${name} itself`,
        fix: 'leave it out',
      }))
  }

  /** As the builder has it, with the place. */
  #hedge({ step, stage, path }: Placed): DescribedFault[] {
    if (step.hedge === undefined) return []
    const isAlone = this.#placed.filter(other => other.stage === stage).length === 1
    const restart = this.#find(step.restartAt ?? step.name)
    const why =
      stage < this.#last || outputOf(step, true) !== 'relay'
        ? 'only the step that relays its answer can be hedged'
        : !isAlone
          ? 'a step that runs beside another meets it on one pod, and can not be hedged'
          : this.workflow.picksAhead
            ? 'with picksAhead, its pod is named before it is asked: it can not be hedged'
            : restart !== undefined && restart.stage < stage
              ? 'with restartAt, it takes what can be taken once: it can not be hedged'
              : undefined
    return why === undefined ? [] : [{ path: [...path, 'hedge'], message: why, fix: 'leave hedge out' }]
  }

  /** One answer for the client, and no more. */
  #answers(): DescribedFault[] {
    const last = stagesOf(this.workflow)[this.#last] ?? []
    const relays = last.filter(step => outputOf(step, true) === 'relay')
    if (relays.length === 1) return []
    const path = [this.name, 'steps', this.#last]
    if (relays.length === 0)
      return [{ path, message: 'no step relays its answer', fix: 'write output: relay in the last one' }]
    const message = `${relays.length} steps relay their answers: ${relays.map(({ name }) => name).join(', ')}`
    return [{ path, message, fix: 'write output: drain in all but one' }]
  }

  #choice(): DescribedFault[] {
    const step = this.workflow.choice?.step
    if (step === undefined || this.#names.includes(step)) return []
    return [unknown([this.name, 'choice', 'step'], `there is no step '${step}'`, step, this.#names)]
  }
}

/** What becomes of a step's answer where it does not say. */
export function outputOf({ output, keep }: DescribedStep, isLast: boolean): 'relay' | 'keep' | 'drain' {
  if (output !== undefined) return output
  if (Object.keys(keep).length > 0) return 'keep'
  return isLast ? 'relay' : 'drain'
}
