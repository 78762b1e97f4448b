/** `resume` of a workflow: what another pod goes on with where one breaks off in the middle of a stream. */
import { z } from 'zod'
import { AnswerRoom } from '../kept-answer.js'

/** Off unless written down: the engine must take `continue_final_message`, which not all do. */
export const resumeOption = z
  .strictObject({
    // Two pods that break off one after the other on the same answer are likelier broken by it than by chance.
    attempts: z
      .int()
      .min(1)
      .max(4)
      .default(1)
      .describe('Most times that an answer is gone on with, each on another pod.'),
    // vLLM sends some 230 bytes a token: answers of 4,500 tokens.
    maxBytes: z
      .int()
      .min(4096)
      .max(16_777_216)
      .default(1_048_576)
      .describe('Longest stream, and longest request, that is kept to be gone on with; in bytes.'),
  })
  .optional()
  .describe(
    'Where a pod breaks off in the middle of a stream, another one goes on with the text so far; its engine must take ' +
      'continue_final_message (vLLM, SGLang). Default: the stream ends with an error event.',
  )

/** What a workflow does about streams that break off. One for all its requests, in one worker. */
export interface ResumePolicy {
  /** Most times for one answer. */
  readonly attempts: number
  /** Memory for what is kept of requests and answers. */
  readonly room: AnswerRoom
}

/**
 * Memory of all streams that a worker keeps for one workflow, in bytes: 290 streams of 1,000 tokens at a time with
 * their requests. What finds no room ends with an error event where its pod breaks off, as all did without.
 */
const WORKER_BYTES = 67_108_864

export const resumePolicy = (given: z.output<typeof resumeOption>): ResumePolicy | undefined =>
  given && { attempts: given.attempts, room: new AnswerRoom(given.maxBytes, WORKER_BYTES) }
