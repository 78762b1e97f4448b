//! What readers may still look at after it was replaced, until none can.
//!
//! The epochs say when that is, but what they are given to do they do on whichever thread comes along, a query's too.
//! So they are given batches, and all they do with one is to put it into a bin, which writers empty: a query frees
//! nothing. What never gets that far goes with the pool.

use super::chain::{Chain, Hashes};
use super::pool::Pool;
use super::table::Table;
use crossbeam_epoch::Guard;
use parking_lot::Mutex;
use std::sync::Arc;

/// Pieces that wait to be a batch: small beside the index, and enough to make the epochs' share of the work nothing.
const BATCH: usize = 64;

/// A piece of memory that has gone out of use.
pub(super) enum Piece<const W: usize> {
    Snapshot(*mut Chain<W>),
    Array(Hashes),
    Table(Table),
}

// SAFETY: whoever has a piece is its only owner.
unsafe impl<const W: usize> Send for Piece<W> {}

impl<const W: usize> Piece<W> {
    /// Bytes, as asked of the pool.
    fn bytes(&self) -> usize {
        match self {
            // SAFETY: a piece is whole until it is freed, and this is its only owner.
            Self::Snapshot(chain) => unsafe { &**chain }.bytes(),
            Self::Array(hashes) => hashes.bytes(),
            Self::Table(table) => table.bytes(),
        }
    }

    /// # Safety
    /// It is of this pool, and no reader can have it.
    unsafe fn free(self, pool: &mut Pool) {
        // SAFETY: each was made by its own `allocate`, and is used by no one, says the caller.
        unsafe {
            match self {
                Self::Snapshot(chain) => Chain::free(chain, pool),
                Self::Array(hashes) => hashes.free(pool),
                Self::Table(table) => table.free(pool),
            }
        }
    }
}

/// Pieces that no reader can have.
type Bin<const W: usize> = Mutex<Vec<Piece<W>>>;

/// A writer's retired pieces.
pub(super) struct Garbage<const W: usize> {
    waiting: Vec<Piece<W>>,
    /// Of all that is not free yet, wherever it is.
    bytes: usize,
    bin: Arc<Bin<W>>,
}

impl<const W: usize> Garbage<W> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new(), bytes: 0, bin: Arc::default() }
    }

    /// Takes a piece that no reader that comes from now on can find.
    pub(super) fn retire(&mut self, piece: Piece<W>) {
        self.bytes += piece.bytes();
        self.waiting.push(piece);
    }

    /// Hands what was retired to the epochs, when it is enough for a batch.
    pub(super) fn hand_over(&mut self, guard: &Guard) {
        if self.waiting.len() >= BATCH {
            self.defer(guard);
        }
    }

    fn defer(&mut self, guard: &Guard) {
        let batch = std::mem::take(&mut self.waiting);
        let bin = self.bin.clone();
        // SAFETY: the closure owns what it uses, and may run on any thread.
        unsafe { guard.defer_unchecked(move || bin.lock().extend(batch)) };
        // Else it would wait until this thread has 64 of them: megabytes.
        guard.flush();
    }

    /// Hands over all that was retired, and pushes what the thread has handed over before.
    pub(super) fn flush(&mut self, guard: &Guard) {
        if self.waiting.is_empty() {
            guard.flush();
        } else {
            self.defer(guard);
        }
    }

    /// Bytes that wait for their last reader, or for a writer to free them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back to the pool what no reader has any more.
    pub(super) fn empty_bin(&mut self, pool: &mut Pool) {
        let pieces = std::mem::take(&mut *self.bin.lock());
        self.bytes -= pieces.iter().map(Piece::bytes).sum::<usize>();
        // SAFETY: only what has outlived its readers is put into the bin, and it is of the index's one pool.
        pieces.into_iter().for_each(|piece| unsafe { piece.free(pool) });
    }
}
