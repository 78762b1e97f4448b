/** What waits to be sent comes out as it went in, in forms that every build of uWebSockets.js sends alike. */
import test from 'ava'
import fc from 'fast-check'
import { type Piece, PieceQueue, SEND_BYTES } from '#phyllo/server/listener/pieces.js'

const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', 'größe', '世', 'é'.repeat(20_000), 'a'.repeat(16 * 1024), '世'.repeat(16 * 1024)),
)
const pieces = fc.array(
  fc.oneof(
    texts,
    texts.map(text => Buffer.from(text)),
    fc.integer({ min: 0, max: 2 * SEND_BYTES }).map(length => Buffer.alloc(length, length)),
  ),
  { maxLength: 12 },
)

function filled(input: readonly Piece[]): PieceQueue {
  const queue = new PieceQueue()
  for (const piece of input) queue.push(piece)
  return queue
}

/** The queue's own buffer is overwritten by the next call. */
const copyOf = (piece: Piece): Buffer => Buffer.from(piece)
const bytesOf = (input: readonly Piece[]): Buffer => Buffer.concat(input.map(copyOf))

test('pieces come out in order and complete, whichever way they are taken', t => {
  fc.assert(
    fc.property(pieces, input => {
      const parts = filled(input)
      const taken: Buffer[] = []
      while (!parts.isEmpty) taken.push(copyOf(parts.takeShared()))
      t.true(Buffer.concat(taken).equals(bytesOf(input)))
      t.true(copyOf(filled(input).takeWhole()).equals(bytesOf(input)))
      t.true(copyOf(filled(input).takeAll()).equals(bytesOf(input)))
      t.is(filled(input).size, bytesOf(input).length)
    }),
  )
})

test('no string beyond ASCII reaches the server: uWebSockets.js on Node 24 sent "größe" as Latin-1, so that an error that quoted it was no UTF-8', t => {
  fc.assert(
    fc.property(texts, text => {
      const beyondAscii = /[\u0080-\uffff]/
      for (const piece of [filled([text]).takeShared(), filled([text]).takeWhole()])
        t.false(typeof piece === 'string' && beyondAscii.test(piece))
    }),
  )
})
