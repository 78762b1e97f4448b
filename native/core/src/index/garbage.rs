//! What readers may still look at after it was replaced, until none can.
//!
//! The epochs say when that is, but what they are given to do they do on whichever thread comes along, a query's too.
//! So they are given batches, and all they do with one is to put it into a bin; writers empty the bin, outside of their
//! lock. A query never frees more than nothing.

use super::arena::Arena;
use super::chain::{Chain, Hashes};
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
    Table(Table, Arc<Arena>),
}

// SAFETY: whoever has a piece is its only owner.
unsafe impl<const W: usize> Send for Piece<W> {}

impl<const W: usize> Piece<W> {
    /// # Safety
    /// No reader can have it.
    unsafe fn free(self) {
        // SAFETY: each was made by its own `allocate`, and is used by no one, says the caller.
        unsafe {
            match self {
                Self::Snapshot(chain) => Chain::free(chain),
                Self::Array(hashes) => hashes.free(),
                Self::Table(table, arena) => table.free(&arena),
            }
        }
    }
}

/// Pieces that no reader can have.
pub(super) struct Bin<const W: usize>(Mutex<Vec<Piece<W>>>);

impl<const W: usize> Bin<W> {
    fn empty(&self) {
        let pieces = std::mem::take(&mut *self.0.lock());
        // SAFETY: only what has outlived its readers is put into a bin.
        pieces.into_iter().for_each(|piece| unsafe { piece.free() });
    }
}

impl<const W: usize> Drop for Bin<W> {
    fn drop(&mut self) {
        self.empty();
    }
}

/// A writer's retired pieces.
pub(super) struct Garbage<const W: usize> {
    waiting: Vec<Piece<W>>,
    bin: Arc<Bin<W>>,
}

impl<const W: usize> Garbage<W> {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new(), bin: Arc::new(Bin(Mutex::default())) }
    }

    /// Takes a piece that no reader that comes from now on can find.
    pub(super) fn retire(&mut self, piece: Piece<W>) {
        self.waiting.push(piece);
    }

    /// Hands what was retired to the epochs: when it is enough for a batch, or all of it.
    pub(super) fn hand_over(&mut self, guard: &Guard, all: bool) {
        if self.waiting.is_empty() || self.waiting.len() < BATCH && !all {
            return;
        }
        let batch = std::mem::take(&mut self.waiting);
        let large = all || batch.iter().any(|piece| matches!(piece, Piece::Table(..)));
        let bin = self.bin.clone();
        // SAFETY: the closure owns what it uses, and may run on any thread.
        unsafe { guard.defer_unchecked(move || bin.0.lock().extend(batch)) };
        if large {
            guard.flush();
        }
    }

    /// The bin, to be emptied when the lock is free.
    pub(super) fn bin(&self) -> Arc<Bin<W>> {
        self.bin.clone()
    }
}

impl<const W: usize> Drop for Garbage<W> {
    fn drop(&mut self) {
        // Dropped with the index: no reader is left.
        self.bin.0.lock().append(&mut self.waiting);
    }
}

/// Frees what is in the bin.
pub(super) fn empty<const W: usize>(bin: &Bin<W>) {
    bin.empty();
}
