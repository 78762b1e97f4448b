import { BOOK, OPS } from '../../../data/native.js'
import { nativeStep } from '../../factories.js'
import { blockHashes, cachedTokens } from '../../slots.js'

/**
 * Looks the prompt's blocks up in the prefix index. Booking then notes the blocks on the picked pod at once, before
 * any answer: in a cold burst the requests behind must already see where the prefix is being computed.
 */
export const matchPrefix = nativeStep({
  name: 'match-prefix',
  summary: "Finds how much of the prompt's prefix each pod has cached.",
  op: OPS.matchPrefix,
  reads: [blockHashes],
  writes: [cachedTokens],
  book: BOOK.learnPrefix,
})
