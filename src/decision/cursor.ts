/** Names of the counters that all worker threads advance together. */
import { hashText, mixWord } from './hash.js'

/** A cursor of one plugin in one profile. */
export const cursorName = (profile: string, plugin: string): number => hashText(`${plugin} ${profile}`)

/**
 * The same, for one model. Models that take turns must not share a counter: with two pods and two models alternating,
 * each model would see only odd or only even numbers and so only one pod. 31 bits, which V8 keeps off the heap.
 */
export const modelCursor = (cursor: number, modelId: number): number => mixWord(cursor ^ modelId) >>> 1
