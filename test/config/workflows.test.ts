/** Workflows in the file: what is refused when it is loaded, where, and what to write instead. */
import test from 'ava'
import { parseConfig } from '#phyllo/config/load.js'

const issuesOf = (workflows: string, more = ''): string[] => {
  const loaded = parseConfig(`workflows:\n${workflows}\n${more}`, { file: 'f' })
  return loaded.ok
    ? []
    : loaded.issues.map(
        ({ path, message, fix }) => `${path}: ${message}${fix === undefined ? '' : ` — ${fix}`}`,
      )
}
const steps = (...lines: string[]): string => `  w: { steps: [${lines.join(', ')}] }`
const decode = '{ name: decode, role: decode }'
const prefill = '{ name: prefill, role: prefill, keep: { kv: /kv_transfer_params } }'

const cases: [string, string, string][] = [
  [
    'a later result',
    steps('{ name: a, request: { set: { x: { from: b.y } } } }', '{ name: b }'),
    "workflows.w.steps[0].request.set.x.from: step 'b' comes later: its answer is not known yet — name an earlier step",
  ],
  [
    'a result of beside',
    steps(
      '{ together: [{ name: a, output: drain }, { name: b, output: relay, request: { set: { x: { from: a.y } } } }] }',
    ),
    "workflows.w.steps[0].together[1].request.set.x.from: step 'a' runs at the same time: its answer is not known yet — name an earlier step",
  ],
  [
    'an unknown step',
    steps(prefill, '{ name: decode, request: { set: { x: { from: prefil.kv } } } }'),
    "workflows.w.steps[1].request.set.x.from: there is no step 'prefil' — write prefill",
  ],
  [
    'an unknown value',
    steps(prefill, '{ name: decode, request: { set: { x: { from: prefill.kw } } } }'),
    "workflows.w.steps[1].request.set.x.from: step 'prefill' does not keep 'kw' — write kv",
  ],
  [
    'no reference',
    steps('{ name: a, request: { set: { x: { form: b.y } } } }'),
    'workflows.w.steps[0].request.set.x.form: unknown key — write from',
  ],
  [
    'two references',
    steps('{ name: a, request: { set: { x: { generate: uuid, value: 1 } } } }'),
    'workflows.w.steps[0].request.set.x: expected one of from, generate, pod, value, got generate and value — keep one of them',
  ],
  [
    'a pod of nobody',
    steps('{ name: a, request: { set: { x: { pod: b, its: host } } } }'),
    "workflows.w.steps[0].request.set.x.pod: there is no step 'b' — write a",
  ],
  [
    'a later pod',
    steps('{ name: aaaa, request: { set: { x: { pod: decode, its: host } } } }', decode),
    "workflows.w.steps[0].request.set.x.pod: step 'decode' comes later: its pod is not picked yet — write picksAhead: true for the workflow",
  ],
  [
    'half a fact',
    steps('{ name: a, request: { set: { x: { pod: a } } } }'),
    'workflows.w.steps[0].request.set.x: pod and its go together — write { pod: prefill, its: host }',
  ],
  [
    'two relays',
    steps('{ together: [{ name: a, output: relay }, { name: b, output: relay }] }'),
    'workflows.w.steps[0]: 2 steps relay their answers: a, b — write output: drain in all but one',
  ],
  [
    'an early relay',
    steps('{ name: a, output: relay }', decode),
    'workflows.w.steps[0].output: only a step of the last stage can relay its answer — write keep or drain',
  ],
  [
    'no relay',
    steps('{ name: a, output: drain }'),
    'workflows.w.steps[0]: no step relays its answer — write output: relay in the last one',
  ],
  [
    'kept for nobody',
    steps('{ name: a, keep: { x: /y }, output: relay }'),
    'workflows.w.steps[0].keep: nobody can read what is kept: no step comes after it — leave keep out',
  ],
  [
    'names twice',
    steps('{ name: a }', '{ name: a }'),
    "workflows.w.steps[1].name: two steps are named 'a' — rename one of them",
  ],
  [
    'an unknown profile',
    steps('{ name: a, profile: prefil }'),
    "workflows.w.steps[0].profile: there is no profile 'prefil' — write prefill",
  ],
  [
    'an unknown role',
    steps('{ name: a, role: prefil }'),
    'workflows.w.steps[0].role: expected prefill, decode or encode, got "prefil" — write prefill',
  ],
  [
    'an unknown key',
    steps('{ name: a, rol: prefill }'),
    'workflows.w.steps[0].rol: unknown key — write role',
  ],
  [
    'an unknown restart',
    steps(prefill, '{ name: decode, restartAt: prefil }'),
    "workflows.w.steps[1].restartAt: there is no step 'prefil' — write prefill",
  ],
  [
    'a later restart',
    steps('{ name: aaaa, restartAt: decode }', decode),
    "workflows.w.steps[0].restartAt: step 'decode' comes later — name this step or an earlier one",
  ],
  [
    'an optional last',
    steps('{ name: a, optional: true }'),
    'workflows.w.steps[0].optional: only a step that has its stage to itself, before the last, can be left out — leave optional out',
  ],
  [
    'a framing header',
    steps('{ name: a, request: { headers: { content-length: "5" } } }'),
    'workflows.w.steps[0].request.headers.content-length: the router writes content-length itself — leave it out',
  ],
  [
    'no pointer',
    steps('{ name: a, keep: { x: y/z } }', decode),
    'workflows.w.steps[0].keep.x: expected a JSON pointer, as in /kv_transfer_params or /choices/0/text, got "y/z"',
  ],
  [
    'a broken pointer',
    steps('{ name: a, request: { drop: [/a//b] } }'),
    'workflows.w.steps[0].request.drop[0]: expected a name, or a pointer as in /stream_options/include_usage, got "/a//b"',
  ],
  [
    'edits within each other',
    steps('{ name: a, request: { set: { /a/b: 1, a: 2 } } }'),
    "workflows.w.steps[0].request.set.a: 'a' and '/a/b' are the same field, or one lies within the other — keep one of them",
  ],
  [
    'a judgement',
    steps('{ name: a, suffices: { shorterThan: 3 } }', decode),
    "workflows.w.steps[0].suffices: a step of the file can't judge its answer — write execute: cascade for the profile, or the workflow in TypeScript",
  ],
  [
    'a condition',
    steps('{ name: a, when: stream }', decode),
    "workflows.w.steps[0].when: a step of the file can't have a condition of its own — write choice or protocol for the workflow, or the workflow in TypeScript",
  ],
  [
    'a hedge on what is kept',
    steps('{ name: a, hedge: {}, keep: { x: /y } }', decode),
    'workflows.w.steps[0].hedge: only the step that relays its answer can be hedged — leave hedge out',
  ],
  [
    'a hedge beside another step',
    steps('{ together: [{ name: a, output: drain }, { name: b, output: relay, hedge: {} }] }'),
    'workflows.w.steps[0].together[1].hedge: a step that runs beside another meets it on one pod, and can not be hedged — leave hedge out',
  ],
  [
    'a hedge on what is taken once',
    steps(prefill, '{ name: decode, restartAt: prefill, hedge: {} }'),
    'workflows.w.steps[1].hedge: with restartAt, it takes what can be taken once: it can not be hedged — leave hedge out',
  ],
  [
    'a hedge on a pod named ahead',
    '  w: { picksAhead: true, steps: [{ name: a, hedge: {} }] }',
    'workflows.w.steps[0].hedge: with picksAhead, its pod is named before it is asked: it can not be hedged — leave hedge out',
  ],
  [
    'an option of a hedge',
    steps('{ name: a, hedge: { budget: 2 } }'),
    'workflows.w.steps[0].hedge.budget: expected a number from 0 to 1, got 2',
  ],
  [
    'an unknown choice',
    '  w: { choice: { step: decod }, steps: [{ name: decode }] }',
    "workflows.w.choice.step: there is no step 'decod' — write decode",
  ],
  [
    'an unknown fallback',
    '  w: { fallback: singel, steps: [{ name: decode }] }',
    "workflows.w.fallback: there is no workflow 'singel' — write single",
  ],
  [
    'a shipped name',
    '  single: { steps: [{ name: decode }] }',
    "workflows.single: the workflow 'single' ships with the router — give yours another name",
  ],
  ['no steps', '  w: { steps: [] }', 'workflows.w.steps: expected a list of at least 1 items, got a list'],
]
for (const [name, workflows, issue] of cases) {
  test(`refused: ${name}`, t => {
    t.deepEqual(issuesOf(workflows), [issue])
  })
}

test('workflows that fall back in a circle are refused, each in its place', t => {
  const circle = [
    '  a: { fallback: b, steps: [{ name: s }] }',
    '  b: { fallback: a, steps: [{ name: s }] }',
    '  c: { fallback: a, steps: [{ name: s }] }',
  ]
  t.deepEqual(issuesOf(circle.join('\n')), [
    'workflows.a.fallback: it falls back to itself: a → b → a — end the chain, with single',
    'workflows.b.fallback: it falls back to itself: b → a → b — end the chain, with single',
  ])
})

const profile = (execute: string) => `profiles: { p: { pick: max-score, execute: ${execute} } }`

test('profiles name workflows of the file, and of bad ones nothing else is told', t => {
  t.deepEqual(issuesOf(steps(decode), profile('w')), [])
  t.deepEqual(
    issuesOf(
      steps(decode),
      profile('prefill-decode/vllm-nixl: { fallback: w }')
        .replace('execute: ', 'execute: { ')
        .replace(' } } }', ' } } } }'),
    ),
    [],
  )
  t.is(issuesOf(steps('{ name: a, role: prefil }'), profile('w')).length, 1)
  t.is(issuesOf(steps('{ name: a, output: drain }'), profile('w')).length, 1)
  t.regex(issuesOf(steps(decode), profile('ww')).join(), /unknown execute plugin 'ww'; did you mean 'w'/)
})

test('a step of another model refuses a profile that reads the prompt', t => {
  const [issue = ''] = issuesOf(steps('{ name: a, model: small, profile: prefill }', decode), profile('w'))
  t.regex(issue, /step 'a' of workflow 'w' asks the model 'small'.*'tokenize'/)
})

test('a step of a profile that is not there is the fault of the profile that runs the workflow', t => {
  t.deepEqual(issuesOf(steps(decode), profile('{ prefill-decode/vllm-nixl: { prefill: nope } }')), [
    "profiles.p.execute: workflow 'prefill-decode/vllm-nixl' selects with profile 'nope', which there is not",
  ])
})

test('a threshold that is neither number nor word is told both', t => {
  const [issue = '', ...more] = issuesOf(
    steps(decode),
    profile('{ prefill-decode/vllm-nixl: { threshold: adaptiv } }'),
  )
  t.deepEqual(more, [])
  t.regex(issue, /vllm-nixl"\]\.threshold: .*expected number, received string, or: .*expected "adaptive"$/)
})
