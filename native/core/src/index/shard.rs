//! What writers do to one shard, under its lock.

use super::arena::Arena;
use super::slots::Slots;
use super::table::{Entry, Found, Head, MIN_LOG, Table};
use crossbeam_epoch as epoch;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A block's hash as the tables want it: never 0, and scrambled.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) key: u64,
    scrambled: u64,
}

/// 2^64 divided by the golden ratio, made odd: the multiplier of Fibonacci hashing (Knuth, vol. 3, 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
pub(super) const SHARD_BITS: u32 = 8;

impl Key {
    #[inline]
    pub(super) fn new(hash: u64) -> Self {
        // 0 marks a free entry. Our own hashes are never 0; foreign ones given to a library index may be.
        let key = hash.max(1);
        Self { key, scrambled: key.wrapping_mul(GOLDEN) }
    }

    /// The top bits: only they depend on all bits of the hash.
    #[inline]
    pub(super) fn shard(self) -> usize {
        (self.scrambled >> (64 - SHARD_BITS)) as usize
    }

    /// The bits that follow, which choose the place within the shard.
    #[inline]
    pub(super) fn spot(self) -> u64 {
        self.scrambled << SHARD_BITS
    }
}

/// A pod's bit.
#[derive(Clone, Copy)]
pub(super) struct Bit {
    word: usize,
    mask: u64,
}

impl Bit {
    pub(super) fn of(slot: usize) -> Self {
        Self { word: slot / 64, mask: 1 << (slot % 64) }
    }
}

/// What the writer lock protects besides the right to change the table.
#[derive(Default)]
pub(super) struct Counts {
    /// Entries with a key; never more than 5/8 of the table.
    used: usize,
    /// Of these, the ones that some pod holds.
    pub(super) live: usize,
    /// How often the table was replaced: a sweep that was under way must start again or is done.
    pub(super) rebuilds: u64,
}

/// One shard while its lock is held.
pub(super) struct Writer<'a, const W: usize> {
    pub(super) head: &'a Head<W>,
    pub(super) counts: &'a mut Counts,
    pub(super) slots: &'a Slots,
    pub(super) arena: &'a Arc<Arena>,
}

impl<'a, const W: usize> Writer<'a, W> {
    fn table(&self) -> Table<W> {
        self.head.table()
    }

    fn find(&self, key: Key) -> Found<'a, W> {
        // SAFETY: the lock is held for 'a and only its holder retires the table, in `rebuild`; no entry found before
        // is used after that.
        unsafe { self.table().find(key.key, key.spot()) }
    }

    /// Sets a pod's bit.
    pub(super) fn set(&mut self, key: Key, bit: Bit) {
        match self.find(key) {
            Found::Key(entry) => {
                let word = &entry.pods[bit.word];
                let old = word.load(Ordering::Relaxed);
                if old & bit.mask == 0 {
                    let revived = old == 0 && entry.is_empty();
                    word.store(old | bit.mask, Ordering::Relaxed);
                    self.counts.live += usize::from(revived);
                }
            }
            Found::Free(entry) if (self.counts.used + 1) * 8 <= self.table().capacity() * 5 => {
                claim(entry, key, bit);
                self.counts.used += 1;
                self.counts.live += 1;
            }
            Found::Free(_) => {
                self.rebuild();
                // At most 2/5 full now, so this ends in the arm above.
                self.set(key, bit);
            }
        }
    }

    /// Clears a pod's bit.
    pub(super) fn clear(&mut self, key: Key, bit: Bit) {
        let Found::Key(entry) = self.find(key) else { return };
        let word = &entry.pods[bit.word];
        let old = word.load(Ordering::Relaxed);
        if old & bit.mask == 0 {
            return;
        }
        word.store(old & !bit.mask, Ordering::Relaxed);
        if old == bit.mask && entry.is_empty() {
            self.counts.live -= 1;
            self.shrink();
        }
    }

    /// Clears the bits of `gone` in `count` entries from `from` on, and answers where to go on, if anywhere.
    pub(super) fn sweep(&mut self, gone: &[u64; W], from: usize, count: usize) -> Option<usize> {
        // SAFETY: the lock is held, and only its holder retires the table.
        let entries = unsafe { self.table().entries() };
        let to = (from + count).min(entries.len());
        for entry in &entries[from..to] {
            let mut hit = false;
            for (word, gone) in entry.pods.iter().zip(gone) {
                let old = word.load(Ordering::Relaxed);
                if old & gone != 0 {
                    word.store(old & !gone, Ordering::Relaxed);
                    hit = true;
                }
            }
            self.counts.live -= usize::from(hit && entry.is_empty());
        }
        (to < entries.len()).then_some(to)
    }

    /// Replaces a table that has become far too large. Growth needs 5/8, a rebuild leaves 1/5 to 2/5, and this waits
    /// for 1/8: between two rebuilds a fixed share of the entries must change, so each change pays O(1) for them.
    pub(super) fn shrink(&mut self) {
        let capacity = self.table().capacity();
        if capacity > 1 << MIN_LOG && self.counts.live * 8 < capacity {
            self.rebuild();
        }
    }

    /// Copies what is alive into a table of fitting size and publishes it. Bits of slots that are not open are left
    /// behind, so a rebuild during a sweep does the sweep's work. Readers go on in the old table, which changes no
    /// more and is freed when the last of them has left.
    fn rebuild(&mut self) {
        let open = self.slots.open_words::<W>();
        let log = ((self.counts.live + 1) * 5).div_ceil(2).next_power_of_two().trailing_zeros().max(MIN_LOG);
        let next = Table::<W>::allocate(self.arena, log);
        // SAFETY: the lock is held, and only its holder retires the table.
        let entries = unsafe { self.table().entries() };
        let mut copied = 0;
        for entry in entries {
            let mut pods = entry.load();
            pods.iter_mut().zip(&open).for_each(|(word, open)| *word &= open);
            if pods == [0; W] {
                continue;
            }
            let key = Key::new(entry.key.load(Ordering::Relaxed));
            // SAFETY: `next` is this function's own until it is published.
            if let Found::Free(free) = unsafe { next.find(key.key, key.spot()) } {
                free.pods.iter().zip(pods).for_each(|(word, pods)| word.store(pods, Ordering::Relaxed));
                free.key.store(key.key, Ordering::Relaxed);
                copied += 1;
            }
        }
        let old = self.head.replace(next);
        self.counts.used = copied;
        self.counts.live = copied;
        self.counts.rebuilds += 1;
        let guard = epoch::pin();
        let arena = self.arena.clone();
        // SAFETY: the head no longer leads to `old`, so only readers pinned before now can have it, and the epoch
        // waits for them.
        unsafe { guard.defer_unchecked(move || old.free(&arena)) };
        // Tables are large: do not let them wait in this thread's bag.
        guard.flush();
    }
}

/// Fills a free entry: bitmap first, then the key that makes it visible.
fn claim<const W: usize>(entry: &Entry<W>, key: Key, bit: Bit) {
    entry.pods[bit.word].store(bit.mask, Ordering::Relaxed);
    entry.key.store(key.key, Ordering::Release);
}
