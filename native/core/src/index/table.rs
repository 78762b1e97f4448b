//! One shard's hash table: open addressing over atomics, read without a lock.
//!
//! A key is written once in a table's life and never changes; an entry whose bitmap became 0 keeps its key until the
//! whole table is replaced. So a reader that saw a key can never read another key's bitmap behind it. Key and bitmap
//! lie together, because in a table larger than the cache a look-up costs what its cache misses cost.

use super::arena::{ALIGN, Arena};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A key (0: free) and the pods that hold it.
#[repr(C)]
pub(super) struct Entry<const W: usize> {
    pub(super) key: AtomicU64,
    pub(super) pods: [AtomicU64; W],
}

impl<const W: usize> Entry<W> {
    #[inline]
    pub(super) fn load(&self) -> [u64; W] {
        // Relaxed: each pod is one bit of one word, and no two words are read as a pair that must agree.
        std::array::from_fn(|word| self.pods[word].load(Ordering::Relaxed))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pods.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }
}

/// Tables start on a cache line, which leaves their address six low bits for the logarithm of their capacity: a
/// reader learns both by one load, in place of a dependent miss on a header.
const LOG_MASK: usize = ALIGN - 1;
/// Shards start with 8 entries: 256 of them with 256 pods take 80 kB.
pub(super) const MIN_LOG: u32 = 3;

/// A table's address and capacity, as published to readers.
pub(super) struct Table<const W: usize>(*mut Entry<W>);

impl<const W: usize> Clone for Table<W> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<const W: usize> Copy for Table<W> {}

// SAFETY: a Table is an address; what is behind it is made of atomics, and who may read or free it is said below.
unsafe impl<const W: usize> Send for Table<W> {}

impl<const W: usize> Table<W> {
    /// An empty table of `2^log` entries.
    pub(super) fn allocate(arena: &Arena, log: u32) -> Self {
        let start = arena.allocate(size_of::<Entry<W>>() << log).cast::<Entry<W>>();
        Self(start.map_addr(|address| address | log as usize))
    }

    /// # Safety
    /// The table is of this arena, and no one uses it from here on.
    pub(super) unsafe fn free(self, arena: &Arena) {
        // SAFETY: allocated with as many bytes; the rest is the caller's word. Entries need no drop.
        unsafe { arena.free(self.start().cast_mut().cast(), self.bytes()) }
    }

    #[inline]
    fn log(self) -> u32 {
        (self.0.addr() & LOG_MASK) as u32
    }

    #[inline]
    fn start(self) -> *const Entry<W> {
        self.0.map_addr(|address| address & !LOG_MASK)
    }

    pub(super) fn capacity(self) -> usize {
        1 << self.log()
    }

    pub(super) fn bytes(self) -> usize {
        size_of::<Entry<W>>() << self.log()
    }

    /// # Safety
    /// The table must not be freed during 'a: the caller holds the shard's writer lock, or read the table's address
    /// from its head under an epoch guard that lives as long.
    #[inline]
    pub(super) unsafe fn entries<'a>(self) -> &'a [Entry<W>] {
        // SAFETY: `allocate` made that many zeroed entries, all-zero atomics are valid, and the caller keeps them.
        unsafe { std::slice::from_raw_parts(self.start(), 1 << self.log()) }
    }

    /// Where the search for a key starts. `spot` are the scrambled hash's bits below the shard's.
    #[inline]
    fn home(self, spot: u64) -> usize {
        (spot >> (64 - self.log())) as usize
    }

    /// Starts loading the entry's home into the cache. Never reads: the table may even be freed meanwhile.
    #[inline]
    pub(super) fn prefetch(self, spot: u64) {
        let entry = self.start().wrapping_add(self.home(spot));
        prefetch(entry.cast());
        // The widest entry starts in one line and ends two further on; the next-line prefetcher sees to the middle.
        if size_of::<Entry<W>>() > 16 {
            prefetch(entry.wrapping_add(1).cast::<u8>().wrapping_sub(1));
        }
    }

    /// The entry of a key, or the free one where it would go.
    ///
    /// # Safety
    /// As for [`Table::entries`].
    #[inline]
    pub(super) unsafe fn find<'a>(self, key: u64, spot: u64) -> Found<'a, W> {
        // SAFETY: handed on to the caller.
        let entries = unsafe { self.entries() };
        let mask = entries.len() - 1;
        let mut at = self.home(spot);
        // Ends: tables are at most 5/8 full.
        loop {
            let entry = &entries[at & mask];
            // Acquire: the bitmap that was there when the key was published is seen with it.
            match entry.key.load(Ordering::Acquire) {
                0 => return Found::Free(entry),
                found if found == key => return Found::Key(entry),
                _ => at += 1,
            }
        }
    }
}

/// Where a key is or would go.
pub(super) enum Found<'a, const W: usize> {
    Key(&'a Entry<W>),
    Free(&'a Entry<W>),
}

#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address whatever is a hint that cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: PRFM is a hint; it changes no register or memory and cannot fault.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// A shard's published table. Heads lie side by side, 2 kB for all 256, so that they stay in the cache while a query
/// jumps from shard to shard; they are written only when a table is replaced. What writers write all the time, the
/// locks, lies elsewhere, each on a line of its own.
pub(super) struct Head<const W: usize>(AtomicPtr<Entry<W>>);

impl<const W: usize> Head<W> {
    pub(super) fn new(arena: &Arena) -> Self {
        Self(AtomicPtr::new(Table::<W>::allocate(arena, MIN_LOG).0))
    }

    #[inline]
    pub(super) fn table(&self) -> Table<W> {
        Table(self.0.load(Ordering::Acquire))
    }

    /// Publishes `next` and gives back the table that it replaces.
    pub(super) fn replace(&self, next: Table<W>) -> Table<W> {
        Table(self.0.swap(next.0, Ordering::AcqRel))
    }
}
