/**
 * Rooms: the numbers by which SGLang's prefill and decode pods find each other. 1 to 2^63 - 1, kept as digits, since
 * most of them are no doubles. 0 is left out: SGLang takes it for "not written yet".
 */

import { createHash } from 'node:crypto'

/** Fills the bytes with random ones, as `crypto.randomFillSync` does. */
export type FillRandom = (bytes: Uint8Array) => unknown

const MOST = (1n << 63n) - 1n

/** So many rooms, all different, each as its decimal digits. */
export function drawRooms(count: number, fill: FillRandom): string[] {
  const words = new BigUint64Array(count)
  fill(new Uint8Array(words.buffer))
  const rooms = new Set<string>()
  for (const word of words) {
    let room = word & MOST
    // Two alike are not met in practice, but a poor source must not make two requests share their blocks.
    while (room === 0n || rooms.has(room.toString())) room = room === MOST ? 1n : room + 1n
    rooms.add(room.toString())
  }
  return [...rooms]
}

/**
 * The rooms of one attempt, the same for whoever asks: both legs name them. Drawn from the attempt's id, 122 random bits,
 * by a function whose output tells nothing of other attempts'.
 */
export const roomsFor = (attemptId: string, count: number): string[] =>
  drawRooms(count, bytes => {
    const drawn = createHash('shake256', { outputLength: bytes.length }).update(attemptId).digest()
    bytes.set(drawn)
  })
