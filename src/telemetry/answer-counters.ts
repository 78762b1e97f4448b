/** Counters of what the engines' answers tell about the router's own figures. */
import { Counter, type Registry } from 'prom-client'
import { CACHE_SOURCES, type CounterSums, LEARNED_ANSWERS, PROMPT_CHECKS } from './counters.js'

export function answerCounters(registry: Registry, sums: CounterSums): void {
  const { layout } = sums
  labelled(registry, sums, {
    name: 'phyllo_prompt_count_checks_total',
    help: "Answers whose engine told the prompt's tokens, by how that compared with the router's count; estimated: it had none.",
    label: 'result',
    values: PROMPT_CHECKS,
    first: layout.promptChecks,
  })
  labelled(registry, sums, {
    name: 'phyllo_cached_tokens_predicted_total',
    help: "Prompt tokens that the pod was expected to find in its cache, by how its cache is known; of requests whose engine told and whose tokens were the model's own.",
    label: 'mode',
    values: CACHE_SOURCES,
    first: layout.cachedPredicted,
  })
  labelled(registry, sums, {
    name: 'phyllo_cached_tokens_actual_total',
    help: 'Prompt tokens that the engine found in its cache, of the same requests.',
    label: 'mode',
    values: CACHE_SOURCES,
    first: layout.cachedActual,
  })
  labelled(registry, sums, {
    name: 'phyllo_learned_answers_total',
    help: 'Answers of predicted pods by what was learned of them: the whole, the beginning (they were long, or the client left), nothing (no memory left, or no stream and not whole), or it failed.',
    label: 'result',
    values: LEARNED_ANSWERS,
    first: layout.learnedAnswers,
  })
}

interface Labelled {
  readonly name: string
  readonly help: string
  readonly label: string
  readonly values: readonly string[]
  /** Index of the first value's count; the others follow. */
  readonly first: number
}

function labelled(
  registry: Registry,
  sums: CounterSums,
  { name, help, label, values, first }: Labelled,
): void {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      this.reset()
      for (const [i, value] of values.entries()) this.inc({ [label]: value }, sums.at(first + i))
    },
  })
}
