//! The chains of all prompts, and the way to them from a block's hash.
//!
//! Prompts that share a prefix share its chains; where they part, a further chain starts. Together they are a forest
//! of prefix trees, cut into chains so that a conversation is one chain wherever that can be.
//!
//! Readers take no lock. Writers take one, for a piece of a batch at a time: most of what a writer does is done once
//! per chain and not per block, so that one thread stores tens of millions of blocks a second, and more locks would
//! only be more work.

use super::blocks::Blocks;
use super::books::Books;
use super::chain::Chain;
use super::chains::Chains;
use super::pool::Pool;
use super::slots::Slots;
use super::writer::Writer;
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use crossbeam_epoch::{self as epoch, Guard};
use parking_lot::Mutex;

/// Blocks that are written under one lock: 10 to 20 µs, what another writer may have to wait.
const PIECE: usize = 512;
/// Chains that a sweep looks at under one lock.
const SWEEP_PIECE: u32 = 64;

pub(super) struct Forest<const W: usize> {
    pub(super) blocks: Blocks,
    pub(super) chains: Chains<W>,
    books: Mutex<Books<W>>,
}

impl<const W: usize> Forest<W> {
    pub(super) fn new() -> Self {
        let mut pool = Pool::new();
        let (blocks, counts) = Blocks::new(&mut pool);
        Self { blocks, chains: Chains::new(), books: Mutex::new(Books::new(counts, pool)) }
    }

    /// The chain that a block is in, and its place there.
    #[inline]
    pub(super) fn find<'a>(&self, guard: &'a Guard, hash: SequenceHash) -> Option<(&'a Chain<W>, u32)> {
        self.blocks.find(&self.chains, guard, hash).map(|(chain, place)| (chain, place.offset))
    }

    fn write<R>(&self, slots: &Slots, change: impl FnOnce(&mut Writer<'_, W>) -> R) -> R {
        // Pinned before the lock: what a writer finds is kept as for a reader.
        let guard = epoch::pin();
        let mut books = self.books.lock();
        books.empty_bin();
        let changed = change(&mut Writer {
            blocks: &self.blocks,
            chains: &self.chains,
            books: &mut books,
            guard: &guard,
            slots,
        });
        books.settle();
        books.garbage.hand_over(&guard);
        changed
    }

    /// Frees what no reader has any more, where no writer comes to do it.
    pub(super) fn tidy(&self) {
        let guard = epoch::pin();
        let mut books = self.books.lock();
        books.empty_bin();
        books.garbage.flush(&guard);
    }

    pub(super) fn store(
        &self,
        slots: &Slots,
        pod: PodRef,
        mut parent: Option<SequenceHash>,
        hashes: &[SequenceHash],
    ) {
        for piece in hashes.chunks(PIECE) {
            self.write(slots, |writer| {
                // Under the lock: the sweep of a closed slot comes later, or has begun and then this sees the slot
                // closed. Either way nothing is left behind.
                if slots.is_open(pod) {
                    writer.store(pod.slot(), parent, piece);
                }
            });
            parent = piece.last().copied();
        }
    }

    pub(super) fn remove(&self, slots: &Slots, pod: PodRef, hashes: &[SequenceHash]) {
        for piece in hashes.chunks(PIECE) {
            self.write(slots, |writer| {
                if slots.is_open(pod) {
                    writer.remove(pod.slot(), piece);
                }
            });
        }
    }

    /// Takes the pods in `gone` out of every chain.
    pub(super) fn sweep(&self, slots: &Slots, gone: &[u64; W]) {
        // From here on a chain that is cut in two gets a number that the sweep has not passed.
        self.write(slots, |writer| writer.books.sweeps += 1);
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.write(slots, |writer| writer.sweep(gone, at, SWEEP_PIECE));
        }
        self.write(slots, |writer| writer.books.sweeps -= 1);
    }

    /// Blocks held by some pod.
    pub(super) fn held(&self) -> usize {
        self.books.lock().held()
    }

    /// Bytes in use, without what waits for its last reader.
    pub(super) fn bytes(&self) -> usize {
        self.books.lock().bytes() + self.chains.bytes()
    }
}
