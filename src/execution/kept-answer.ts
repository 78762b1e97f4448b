/**
 * The answer of a predicted pod, kept while it is relayed so that its tokens can be learned in the end.
 *
 * Pieces are copied, not referenced: each one that came in a read of its own holds an ArrayBuffer of its own and two
 * objects. 500 streams with 128 events of 220 bytes each (13.4 MB) took 40 to 47 MB of memory as references and 15 to
 * 18 MB as copies, at the same CPU time (20 to 30 µs an event for the whole receiving process, both ways, by what else the
 * machine did). Only what fills its buffer well, and a first piece that may be the only one, are kept as they are.
 */

/**
 * Most memory of one answer: some 1,100 events of the 230 bytes that vLLM sends per token, or 40,000 words in one JSON.
 * Of a longer one the beginning extends the prompt's blocks as well.
 */
const ANSWER_BYTES = 262_144
/**
 * Most memory of all answers at a time in a worker: a thousand of 32 KiB, which are 140 tokens each as events. What is
 * beyond costs a prediction, and no memory.
 */
const WORKER_BYTES = 33_554_432
/** Of the first copies: small enough for short answers, of which a worker's bound is 8,192. */
const SLAB_BYTES = 4096
/** Then as much again as there is, so that they stay few (each costs some 3 µs on its way to the core), up to this. */
const LARGE_SLAB_BYTES = 65_536

/** What all answers kept by a worker may take together. */
export class AnswerRoom {
  #left: number

  constructor(
    readonly perAnswer = ANSWER_BYTES,
    total = WORKER_BYTES,
  ) {
    this.#left = total
  }

  get left(): number {
    return this.#left
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

/** One answer as it comes. */
export class KeptAnswer {
  /** Something is missing at the end. */
  cut = false
  readonly #room: AnswerRoom
  readonly #pieces: Buffer[] = []
  /** Bytes used of the last piece, if that is a slab. */
  #slab: Buffer | undefined
  #used = 0
  /** Bytes of memory taken from the room. */
  #taken = 0

  constructor(room: AnswerRoom) {
    this.#room = room
  }

  /** Takes a piece, as long as there is room for all of it; after the first that finds none, nothing more. */
  add(chunk: Buffer): void {
    if (this.cut) return
    if (this.#slab !== undefined && this.#used + chunk.length <= this.#slab.length)
      this.#copy(this.#slab, chunk)
    else if (this.#isWorthKeeping(chunk)) this.#append(chunk)
    else this.#newSlab(chunk)
  }

  /** The pieces so far, in order. */
  pieces(): Buffer[] {
    this.#closeSlab()
    return this.#pieces
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0
  }

  /** Memory that it takes. */
  get bytes(): number {
    return this.#taken
  }

  /** Gives the room back, once; the pieces must not be used any more. */
  release(): void {
    this.#room.give(this.#taken)
    this.#taken = 0
    this.#pieces.length = 0
    this.#slab = undefined
    this.cut = true
  }

  #isWorthKeeping(chunk: Buffer): boolean {
    const { byteLength } = chunk.buffer
    if (this.#pieces.length === 0 && byteLength <= SLAB_BYTES) return true
    // At least half of the memory that it keeps alive is its own.
    return chunk.length >= SLAB_BYTES && chunk.length * 2 >= byteLength
  }

  #copy(slab: Buffer, chunk: Buffer): void {
    slab.set(chunk, this.#used)
    this.#used += chunk.length
  }

  #append(chunk: Buffer): void {
    if (!this.#take(chunk.buffer.byteLength)) return
    this.#closeSlab()
    this.#pieces.push(chunk)
  }

  #newSlab(chunk: Buffer): void {
    const bytes = Math.max(SLAB_BYTES, Math.min(this.#taken, LARGE_SLAB_BYTES), chunk.length)
    if (!this.#take(bytes)) return
    this.#closeSlab()
    // A buffer of its own: one of Node's pool would be kept alive by its neighbours, and keep them.
    const slab = Buffer.allocUnsafeSlow(bytes)
    this.#pieces.push(slab)
    this.#slab = slab
    this.#used = 0
    this.#copy(slab, chunk)
  }

  #closeSlab(): void {
    if (this.#slab === undefined) return
    this.#pieces[this.#pieces.length - 1] = this.#slab.subarray(0, this.#used)
    this.#slab = undefined
  }

  #take(bytes: number): boolean {
    const fits = this.#taken + bytes <= this.#room.perAnswer && this.#room.take(bytes)
    if (fits) this.#taken += bytes
    else this.cut = true
    return fits
  }
}
