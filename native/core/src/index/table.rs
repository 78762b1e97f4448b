//! One shard's hash table: block → the place of the block in a chain, in one atomic word each; read without a lock.
//!
//! A word holds 24 bits of the scrambled hash (the tag) and the place. The full hash is where the place leads to, so
//! whoever finds a word with the right tag asks there (`holds` of [`Table::find`]); a query does so anyway. The tag is
//! all that is needed to lay out a larger table, so growing reads no chain. A word is written at once, so a place that
//! was given up can be used for any other block: a reader sees the one or the other.

use super::key::{Key, TAG_BITS};
use super::pool::Pool;
use super::sync::{AtomicPtr, AtomicU64, Ordering};
use crate::prefetch::prefetch;

const OFFSET_BITS: u32 = 14;
const ID_BITS: u32 = 64 - TAG_BITS - OFFSET_BITS;
/// Most blocks of a chain: 262,128 tokens at 16 a block. Longer prompts go on in a further chain.
pub(super) const MAX_LEN: u32 = (1 << OFFSET_BITS) - 1;
/// Chain numbers start here, so that no word of a block is [`FREE`] or [`GONE`].
pub(super) const FIRST_ID: u32 = 2;
/// Most chains: 67 million. At that number the chains alone would be over 10 GB.
pub(super) const MAX_ID: u32 = (1 << ID_BITS) - 1;

/// Never used since the table was made: a search ends here.
const FREE: u64 = 0;
/// Given up: a search goes on, a new block may go here.
const GONE: u64 = 1;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The chain.
    pub(super) id: u32,
    /// Blocks before it in the chain.
    pub(super) offset: u32,
}

impl Place {
    #[inline]
    fn word(self, tag: u64) -> u64 {
        tag << (64 - TAG_BITS) | u64::from(self.offset) << ID_BITS | u64::from(self.id)
    }

    #[inline]
    fn of(word: u64) -> Self {
        let offset = (word >> ID_BITS) as u32 & MAX_LEN;
        Self { id: word as u32 & MAX_ID, offset }
    }
}

/// Tables start on a cache line, which leaves their address six low bits for the logarithm of their capacity: a reader
/// learns both by one load, in place of a dependent miss on a header.
const LOG_MASK: usize = 63;
/// Shards start with 8 words: 16 kB for all 256.
pub(super) const MIN_LOG: u32 = 3;

/// A table's address and capacity, as published to readers.
#[derive(Clone, Copy)]
pub(super) struct Table(*mut AtomicU64);

// SAFETY: a Table is an address; what is behind it is made of atomics, and who may read or free it is said below.
unsafe impl Send for Table {}

impl Table {
    /// An empty table of `2^log` words.
    pub(super) fn allocate(pool: &mut Pool, log: u32) -> Self {
        debug_assert!((MIN_LOG..=TAG_BITS).contains(&log));
        Self(free_words(pool, 1 << log).map_addr(|address| address | log as usize))
    }

    /// # Safety
    /// The table is of this pool, and no one uses it from here on.
    pub(super) unsafe fn free(self, pool: &mut Pool) {
        // SAFETY: allocated with as many bytes; the rest is the caller's word. (loom's atomics are not of the pool.)
        #[cfg(not(loom))]
        unsafe {
            pool.free(self.start().cast_mut().cast(), self.bytes())
        }
        #[cfg(loom)]
        let _ = pool;
    }

    #[inline]
    fn log(self) -> u32 {
        (self.0.addr() & LOG_MASK) as u32
    }

    #[inline]
    fn start(self) -> *const AtomicU64 {
        self.0.map_addr(|address| address & !LOG_MASK)
    }

    /// Number of words.
    pub(super) fn capacity(self) -> usize {
        1 << self.log()
    }

    pub(super) fn bytes(self) -> usize {
        size_of::<u64>() << self.log()
    }

    /// # Safety
    /// The table must not be freed during 'a: the caller holds the writer lock, or read the table's address from its
    /// head under an epoch guard that lives as long.
    #[inline]
    unsafe fn words<'a>(self) -> &'a [AtomicU64] {
        // SAFETY: `allocate` made that many words, and the caller keeps them.
        unsafe { std::slice::from_raw_parts(self.start(), 1 << self.log()) }
    }

    /// Where the search for a tag starts.
    #[inline]
    fn home(self, tag: u64) -> usize {
        (tag >> (TAG_BITS - self.log())) as usize
    }

    /// Starts loading a block's home into the cache. Never reads: the table may even be freed meanwhile.
    #[inline]
    pub(super) fn prefetch(self, key: Key) {
        prefetch(self.start().wrapping_add(self.home(key.tag())));
    }

    /// The block's word and place. `holds` says whether the chain has the block there.
    ///
    /// # Safety
    /// As for [`Table::words`].
    #[inline]
    pub(super) unsafe fn find<'a>(self, key: Key, mut holds: impl FnMut(Place) -> bool) -> Found<'a> {
        // SAFETY: handed on to the caller.
        let words = unsafe { self.words() };
        let (mask, tag) = (words.len() - 1, key.tag());
        let (mut at, mut gone) = (self.home(tag), None);
        // Ends: tables are at most 3/4 full, words given up included.
        loop {
            let slot = &words[at & mask];
            // Acquire: what the place leads to was written before the word.
            match slot.load(Ordering::Acquire) {
                FREE => return Found::Vacant(Vacant { slot: gone.unwrap_or(slot), fresh: gone.is_none() }),
                GONE => gone = gone.or(Some(slot)),
                word if word >> (64 - TAG_BITS) == tag && holds(Place::of(word)) => {
                    return Found::Block(slot, Place::of(word));
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Copies the blocks of this table into `next`, which is empty and the caller's own. Answers how many.
    ///
    /// # Safety
    /// As for [`Table::words`], for both.
    pub(super) unsafe fn copy_into(self, next: Table) -> usize {
        // SAFETY: handed on to the caller.
        let (words, target) = unsafe { (self.words(), next.words()) };
        let (mask, mut copied) = (target.len() - 1, 0);
        for word in words.iter().map(|word| word.load(Ordering::Relaxed)) {
            if word == FREE || word == GONE {
                continue;
            }
            let mut at = next.home(word >> (64 - TAG_BITS));
            while target[at & mask].load(Ordering::Relaxed) != FREE {
                at += 1;
            }
            target[at & mask].store(word, Ordering::Relaxed);
            copied += 1;
        }
        copied
    }
}

/// Words that are free, on a cache line.
#[cfg(not(loom))]
fn free_words(pool: &mut Pool, count: usize) -> *mut AtomicU64 {
    let bytes = count * size_of::<AtomicU64>();
    let start = pool.allocate(bytes);
    // SAFETY: fresh memory of that size; atomics may be all zero, which is `FREE`.
    unsafe { start.write_bytes(0, bytes) };
    start.cast()
}

/// loom's atomics are made one by one.
#[cfg(loom)]
fn free_words(_: &mut Pool, count: usize) -> *mut AtomicU64 {
    #[repr(align(64))]
    struct Line([AtomicU64; 8]);
    let line = || Line(std::array::from_fn(|_| AtomicU64::new(FREE)));
    let lines: Box<[Line]> = (0..count.div_ceil(8)).map(|_| line()).collect();
    Box::into_raw(lines).cast()
}

/// Where a block's word may go.
pub(super) struct Vacant<'a> {
    slot: &'a AtomicU64,
    /// Whether that makes the table fuller: the word was never used.
    pub(super) fresh: bool,
}

impl Vacant<'_> {
    /// Makes the block found.
    pub(super) fn fill(self, key: Key, place: Place) {
        self.slot.store(place.word(key.tag()), Ordering::Release);
    }
}

/// Where a block is or would go.
pub(super) enum Found<'a> {
    Block(&'a AtomicU64, Place),
    Vacant(Vacant<'a>),
}

/// Makes a block not found any more.
pub(super) fn give_up(slot: &AtomicU64) {
    slot.store(GONE, Ordering::Release);
}

/// Lets a block be found elsewhere.
pub(super) fn move_to(slot: &AtomicU64, key: Key, place: Place) {
    slot.store(place.word(key.tag()), Ordering::Release);
}

/// A shard's published table. Heads lie side by side, 2 kB for all 256, so that they stay in the cache while a query
/// jumps from shard to shard; they are written only when a table is replaced.
pub(super) struct Head(AtomicPtr<AtomicU64>);

impl Head {
    pub(super) fn new(pool: &mut Pool) -> Self {
        Self(AtomicPtr::new(Table::allocate(pool, MIN_LOG).0))
    }

    #[inline]
    pub(super) fn table(&self) -> Table {
        Table(self.0.load(Ordering::Acquire))
    }

    /// Publishes `next` and gives back the table that it replaces.
    pub(super) fn replace(&self, next: Table) -> Table {
        Table(self.0.swap(next.0, Ordering::AcqRel))
    }
}
