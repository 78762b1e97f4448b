/** The hash of keys, for decisions; it lives in the data layer, whose adapter table is told names by engines' metrics. */
export { fnv1a, hashText, hashWord, mix32, mixWord } from '../data/hash.js'
