/** The fields that describe the fleet: pods, models, profiles, passthrough paths. */
import { z } from 'zod'
import { parsePodUrl, podIdOf } from '../data/pod-url.js'
import { count, name, urlPath } from './fields.js'

/** The text of a pod URL, checked and without a trailing slash. */
const podUrl = z
  .string()
  .transform((text, ctx) => {
    const url = parsePodUrl(text)
    if ('origin' in url) return `${url.origin}${url.basePath}`
    ctx.addIssue({ code: 'custom', message: url.fault, params: { fix: url.fix } })
    return z.NEVER
  })
  .describe('Where the engine listens: http(s)://host:port, with a base path if it has one, without /v1.')

const pod = z
  .strictObject({
    url: podUrl,
    id: name('Name in logs, metrics and x-phyllo-pod. Default: host:port of the URL.').optional(),
    models: z
      .array(name('Name of a model.'))
      .min(1)
      .optional()
      .describe('Models that it serves. Default: its own /v1/models says.'),
    labels: z
      .record(name('Name of a label.'), z.string().describe('Value of a label.'))
      .default({})
      .describe('Free labels, for filters and metrics.'),
    // The engine's own queue is the better judge, so none by default; a profile's cap holds besides.
    maxInflight: count(0, 0, 1_000_000, 'Most requests in flight on it at once; 0 = no limit.'),
  })
  .transform(value => ({ ...value, id: value.id ?? idOfUrl(value.url) }))
  .describe('An engine that answers requests.')

function idOfUrl(url: string): string {
  const parsed = parsePodUrl(url)
  return 'origin' in parsed ? podIdOf(parsed) : url
}

const model = z
  .strictObject({
    name: name('Name as pods and clients call it; `*` stands for every model without an entry of its own.'),
    dir: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Directory with tokenizer.json (and tokenizer_config.json, chat_template.jinja), relative to this file. ' +
          'Default: none; prefixes are then matched by text.',
      ),
    // vLLM's default on GPUs. Where it differs from the engine's, depths are rounded, not wrong.
    blockSize: count(16, 1, 4_096, 'Tokens per KV block, as the engines are started with.'),
    profile: name('Profile that routes it. Default: defaults.profile.').optional(),
    aliases: z
      .array(name('Another name.'))
      .default([])
      .describe('Other names that clients may ask for it by. Default: none.'),
    chatTemplate: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Chat template that overrides the model's: a Jinja file, relative to this file, or the template itself (a " +
          'text with "{{" or "{%"). Default: none.',
      ),
  })
  .describe('What the router must know of a model that it cannot ask a pod.')

export const fleetFields = {
  pods: z
    .array(pod)
    .default([])
    .describe('The engines. More can be added at run time: POST /pods on the admin port.'),
  models: z
    .array(model)
    .default([])
    .describe('Models that are more than a name: tokenizer, block size, profile, aliases.'),
  plugins: z
    .array(z.string().min(1).describe('Path of a JavaScript module, relative to this file.'))
    .default([])
    .describe('Modules with plugins of your own, which profiles can then name.'),
  profiles: z
    .record(name('Name of a profile.'), z.unknown())
    .default({})
    .describe('Routing profiles of your own; one with the name of a built-in profile takes its place.'),
  passthrough: z
    .array(urlPath('A path, exactly as clients ask for it.'))
    .default([])
    .describe(
      "Paths that go to a pod besides the API's own, such as /rerank. Engine-control paths stay closed.",
    ),
}
