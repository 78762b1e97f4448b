/** The fields that describe the fleet: pods, models, profiles, passthrough paths. */
import { z } from 'zod'
import { podSchema } from '../data/pod-schema.js'
import { describedWorkflow } from '../execution/workflows/described/schema.js'
import { count, name, urlPath } from '../yaml/fields.js'

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
    fallbacks: z
      .array(name('Name of a model, or an alias.'))
      .default([])
      .describe(
        'Models that serve its requests while none of its pods takes any, in this order; the answer names the model ' +
          'that gave it. Default: none.',
      ),
    chatTemplate: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Chat template that overrides the model's: a Jinja file, relative to this file, or the template itself (a " +
          'text with "{{" or "{%"). Default: none.',
      ),
    // Off: an answer must not depend on whether the router's tokens are the engine's, and what it saves is the engine's
    // time on its CPU, of which a GPU server has plenty.
    forwardTokens: z
      .union([z.boolean(), z.literal('prompt_tokens')])
      .default(false)
      .describe(
        "Send text prompts of /v1/completions as the router's token ids, so that the engine need not tokenize again; " +
          'only where the answer stays the same. For engines that take ids there: vLLM, SGLang, MAX. ' +
          '`prompt_tokens`: chats too, with their ids in that field beside the messages, for MAX, which then renders ' +
          'no template.',
      ),
  })
  .describe('What the router must know of a model that it cannot ask a pod.')

export const fleetFields = {
  pods: z
    .array(podSchema)
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
  workflows: z
    .record(name('Name of a workflow.'), describedWorkflow)
    .default({})
    .describe('Workflows of your own, which profiles name under `execute`; see docs/workflows.md.'),
  passthrough: z
    .array(urlPath('A path, exactly as clients ask for it.'))
    .default([])
    .describe(
      "Paths that go to a pod besides the API's own, such as /rerank. Engine-control paths stay closed.",
    ),
}
