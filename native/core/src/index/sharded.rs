//! 256 shards and what is done over all of them.

use super::arena::Arena;
use super::shard::{Bit, Counts, Key, SHARD_BITS, Writer};
use super::slots::Slots;
use super::table::{Found, Head};
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use crossbeam_epoch::Guard;
use parking_lot::Mutex;
use std::sync::Arc;

const SHARDS: usize = 1 << SHARD_BITS;
/// Entries that a sweep looks at under one lock: about 5 µs, what a store may have to wait.
const SWEEP_CHUNK: usize = 1024;
/// How far ahead a batch starts its cache misses: at about 20 ns a block, a DRAM latency.
const LOOKAHEAD: usize = 8;

/// A writer lock on a cache line of its own.
#[repr(align(64))]
struct Lock(Mutex<Counts>);

/// The index for `W` words of pods.
pub(super) struct Sharded<const W: usize> {
    heads: Box<[Head<W>]>,
    locks: Box<[Lock]>,
    /// Shared with the tables that wait for their last reader, which may outlive the index.
    arena: Arc<Arena>,
}

impl<const W: usize> Sharded<W> {
    pub(super) fn new() -> Self {
        let arena = Arc::new(Arena::default());
        Self {
            heads: (0..SHARDS).map(|_| Head::new(&arena)).collect(),
            locks: (0..SHARDS).map(|_| Lock(Mutex::default())).collect(),
            arena,
        }
    }

    fn write<R>(&self, slots: &Slots, shard: usize, change: impl FnOnce(Writer<'_, W>) -> R) -> R {
        let mut counts = self.locks[shard].0.lock();
        change(Writer { head: &self.heads[shard], counts: &mut counts, slots, arena: &self.arena })
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: SequenceHash) {
        let key = Key::new(hash.0);
        self.heads[key.shard()].table().prefetch(key.spot());
    }

    /// The pods that hold a block. The guard keeps the tables that readers may meet.
    #[inline]
    pub(super) fn get(&self, _guard: &Guard, hash: SequenceHash) -> [u64; W] {
        let key = Key::new(hash.0);
        // SAFETY: the table's address is read here, under the guard.
        match unsafe { self.heads[key.shard()].table().find(key.key, key.spot()) } {
            Found::Key(entry) => entry.load(),
            Found::Free(_) => [0; W],
        }
    }

    /// Runs `each` for the blocks with their shards locked in turn, the cache misses of the next ones under way.
    fn batch(&self, slots: &Slots, hashes: &[SequenceHash], mut each: impl FnMut(Writer<'_, W>, Key)) {
        hashes.iter().take(LOOKAHEAD).for_each(|&hash| self.prefetch(hash));
        for (i, &hash) in hashes.iter().enumerate() {
            if let Some(&ahead) = hashes.get(i + LOOKAHEAD) {
                self.prefetch(ahead);
            }
            let key = Key::new(hash.0);
            self.write(slots, key.shard(), |writer| each(writer, key));
        }
    }

    pub(super) fn store(&self, slots: &Slots, pod: PodRef, hashes: &[SequenceHash]) {
        let bit = Bit::of(pod.slot());
        self.batch(slots, hashes, |mut writer, key| {
            // Under the lock: the sweep of a closed slot comes to this shard later, or has been here and then this
            // sees the slot closed. Either way no bit is left behind.
            if slots.is_open(pod) {
                writer.set(key, bit);
            }
        });
    }

    pub(super) fn remove(&self, slots: &Slots, pod: PodRef, hashes: &[SequenceHash]) {
        let bit = Bit::of(pod.slot());
        self.batch(slots, hashes, |mut writer, key| {
            if slots.is_open(pod) {
                writer.clear(key, bit);
            }
        });
    }

    /// Takes the pods in `gone` out of every entry. With `closed`, their slots are closed, so that a rebuild of a
    /// shard meanwhile has already done the work there; without, the shard is started again.
    pub(super) fn sweep(&self, slots: &Slots, gone: &[u64; W], closed: bool) {
        for shard in 0..SHARDS {
            let mut seen = None;
            let mut from = Some(0);
            while let Some(at) = from {
                from = self.write(slots, shard, |mut writer| {
                    let rebuilds = writer.counts.rebuilds;
                    let replaced = *seen.get_or_insert(rebuilds) != rebuilds;
                    if replaced && closed {
                        return None;
                    }
                    seen = Some(rebuilds);
                    let next = writer.sweep(gone, if replaced { 0 } else { at }, SWEEP_CHUNK);
                    if next.is_none() {
                        writer.shrink();
                    }
                    next
                });
            }
        }
    }

    /// Blocks held by some pod, and the tables' bytes.
    pub(super) fn size(&self, slots: &Slots) -> (usize, usize) {
        (0..SHARDS).fold((0, 0), |(entries, bytes), shard| {
            let (live, size) =
                self.write(slots, shard, |writer| (writer.counts.live, writer.head.table().bytes()));
            (entries + live, bytes + size)
        })
    }
}

impl<const W: usize> Drop for Sharded<W> {
    fn drop(&mut self) {
        for head in &self.heads {
            // SAFETY: `&mut self`: no reader and no writer is left, and the tables are of this arena.
            unsafe { head.table().free(&self.arena) }
        }
    }
}
