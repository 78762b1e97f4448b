/**
 * Whether a model's prompts may go to its pods as token ids, as one worker knows it (`models[].forwardTokens`).
 *
 * An engine that is sent ids counts the router's own tokens and so can't show that its tokenizer is another one. That
 * is for requests whose text goes out all the same: the first, then one in 64; and all, from the first one whose count
 * differs to the next that agrees.
 */
const CHECKED = 64

/** Off, prompts of `/v1/completions`, or those of chats too, in MAX's field `prompt_tokens`. */
export type ForwardTokens = boolean | 'prompt_tokens'

export class TokenForwarding {
  #seen = 0
  #differs = false

  constructor(
    /** Chats have their ids in a field of their own, besides the messages. */
    readonly chats: boolean,
  ) {}

  /** Whether this request, which could, goes as ids. */
  admits(): boolean {
    return this.#seen++ % CHECKED !== 0 && !this.#differs
  }

  /** An engine that was sent the text has counted it. */
  judged(agrees: boolean): void {
    this.#differs = !agrees
  }
}
