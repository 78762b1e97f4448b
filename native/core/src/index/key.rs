//! A block's hash as the tables want it: scrambled, so that every bit of it decides where it goes.

use crate::hash::SequenceHash;

/// 2^64 divided by the golden ratio, made odd: the multiplier of Fibonacci hashing (Knuth, vol. 3, 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// 256 shards; 2 in model tests and for sanitizers, where each costs time.
pub(super) const SHARD_BITS: u32 = if cfg!(any(loom, pieces_apart)) { 1 } else { 8 };
/// Bits of a hash that a table keeps of it, so the logarithm of the largest table.
pub(super) const TAG_BITS: u32 = 24;

/// A hash and its scrambled form.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) hash: u64,
    scrambled: u64,
}

impl Key {
    #[inline]
    pub(super) fn new(hash: SequenceHash) -> Self {
        Self { hash: hash.0, scrambled: hash.0.wrapping_mul(GOLDEN) }
    }

    /// The top bits: only they depend on all bits of the hash.
    #[inline]
    pub(super) fn shard(self) -> usize {
        (self.scrambled >> (64 - SHARD_BITS)) as usize
    }

    /// The bits that follow. Their top ones choose the place within the shard, all of them tell the block from most of
    /// its neighbours.
    #[inline]
    pub(super) fn tag(self) -> u64 {
        self.scrambled << SHARD_BITS >> (64 - TAG_BITS)
    }
}
