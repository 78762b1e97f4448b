//! Block hashes, and the cumulative link that makes a block's hash stand for its whole prefix.

/// Hash of one block's tokens, independent of where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct BlockHash(pub u64);

/// Cumulative hash of a block and everything before it, down to the root. Never 0 (the index's empty key).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct SequenceHash(pub u64);
