/** What a step of a configured workflow changes in the client's request, and where the values come from. */
import { z } from 'zod'

/** A name that values and other steps go by: no dots, since `step.value` names a value of a step. */
export const word = (text: string) =>
  z
    .string()
    .regex(/^[\w-]{1,64}$/, { error: 'expected 1 to 64 letters, digits, - or _' })
    .describe(text)

/** A JSON pointer (RFC 6901) of eight names at most, which are more than any API nests its options. */
export const POINTER = /^(?:\/(?:[^/~]|~[01])+){1,8}$/
/** A name of the top level, or a pointer. */
const field = z.string().regex(/^(?:[^/][\s\S]*|(?:\/(?:[^/~]|~[01])+){1,8})$/, {
  error: 'expected a name, or a pointer as in /stream_options/include_usage',
})

/** What a pod can be asked for. */
export const POD_FACTS = ['host', 'origin', 'bootstrapPort', 'address', 'rank', 'id'] as const
export type PodFact = (typeof POD_FACTS)[number]

/** What can be drawn for each attempt, the same for all its steps. */
export const GENERATED = ['room', 'uuid'] as const

const KINDS = ['from', 'generate', 'pod', 'value'] as const

const reference = z
  .strictObject({
    from: z
      .string()
      .regex(/^[\w-]+\.[\w-]+$/, { error: 'expected step.value, as in prefill.kv' })
      .optional()
      .describe('A value that an earlier step keeps: step.value.'),
    generate: z
      .enum(GENERATED)
      .optional()
      .describe(
        'Drawn for each attempt, the same for all steps: a room of SGLang (1 to 2^63 - 1), or 32 hex digits.',
      ),
    pod: word('A step, of whose pod something is said; with `its`.').optional(),
    its: z
      .enum(POD_FACTS)
      .optional()
      .describe(
        'What is said of the pod: host, origin (scheme, host and port), bootstrapPort and address of its kvTransfer, rank, id. One that it has not leaves the field out.',
      ),
    value: z.unknown().optional().describe('Any JSON value; maps have to be written in this way.'),
  })
  .superRefine((given, ctx) => {
    // Of an unknown key something else is told already.
    if (ctx.issues.length > 0) return
    // A null of the file arrives as nothing at all.
    const kinds = KINDS.filter(kind => given[kind] !== undefined || (kind === 'value' && kind in given))
    const fault = (message: string, fix: string) => ctx.addIssue({ code: 'custom', message, params: { fix } })
    if (kinds.length !== 1)
      fault(`expected one of ${KINDS.join(', ')}, got ${kinds.join(' and ') || 'none'}`, 'keep one of them')
    else if ((given.pod === undefined) !== (given.its === undefined))
      fault('pod and its go together', 'write { pod: prefill, its: host }')
  })

const fieldValue = z
  .union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.unknown()), reference])
  .describe('A JSON value, or where it comes from.')
export type FieldValue = z.output<typeof fieldValue>

const headerValue = z
  .union([z.string().regex(/^[\x20-\x7e]*$/, { error: 'expected printable ASCII' }), reference])
  .describe('A text, or where it comes from.')
export type HeaderValue = z.output<typeof headerValue>

export const request = z
  .strictObject({
    oneToken: z
      .boolean()
      .default(false)
      .describe(
        'The request only fills the cache: one token, in one JSON answer, whatever the client asked for.',
      ),
    noStream: z.boolean().default(false).describe('The answer is one JSON object.'),
    set: z
      .record(field.describe('Name of a field, or a JSON pointer to one in a map: /a/b.'), fieldValue)
      .default({})
      .describe(
        'Fields of the body, set in place or at the end. Maps on the way to one are made where they lack.',
      ),
    drop: z.array(field).default([]).describe('Fields taken out of the body, as names or JSON pointers.'),
    headers: z
      .record(
        z.string().regex(/^[a-z0-9-]+$/, { error: 'expected a header name in lower case' }),
        headerValue,
      )
      .default({})
      .describe('Headers set.'),
  })
  .prefault({})
  .describe("What is changed in the client's request. All else goes through byte for byte.")
