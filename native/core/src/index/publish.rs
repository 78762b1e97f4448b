//! From a changed draft to a chain's next snapshot: its array, its blocks' words in the table, and the swap.

use super::books::{Books, Ledger};
use super::chain::{Chain, Hashes};
use super::garbage::Piece;
use super::table::{MAX_LEN, Place};
use super::writer::{LOOKAHEAD, Writer};
use crate::hash::SequenceHash;
use std::ops::Range;

/// Blocks up to which an array that is full is doubled: half a kilobyte.
const DOUBLING: u32 = 64;

impl<const W: usize> Writer<'_, W> {
    /// An array for the chain with room for `more` hashes from `from` on, its first `from` written.
    pub(super) fn reserve(&mut self, id: u32, from: u32, more: u32) -> Hashes {
        let Some(chain) = self.chain(id) else {
            return Hashes::allocate(&mut self.books.pool, more);
        };
        // What an earlier, longer snapshot reached may still be read.
        if self.books.ledgers[id as usize].written == from && from + more <= chain.hashes().capacity() {
            return chain.hashes();
        }
        // A conversation grows by a batch at a time. Twice as much while that is little, later half as much again: a hash
        // is copied once or twice in its life, and a fifth of the memory is idle.
        let spare = if from < DOUBLING { from } else { from / 2 };
        self.copy(chain, 0..from, from + more.max(spare))
    }

    /// Some of a chain's hashes in an array of their own.
    fn copy(&mut self, chain: &Chain<W>, range: Range<u32>, capacity: u32) -> Hashes {
        let hashes = Hashes::allocate(&mut self.books.pool, capacity.min(MAX_LEN));
        for (to, from) in range.enumerate() {
            // SAFETY: the array is this function's own.
            unsafe { hashes.write(to as u32, chain.hash(from)) };
        }
        hashes
    }

    pub(super) fn load(&mut self, id: u32) {
        let chain = self.chain(id);
        let Books { draft, ledgers, .. } = &mut *self.books;
        draft.load(chain, ledgers[id as usize].islands.as_deref().unwrap_or_default());
    }

    /// Publishes the draft as the chain's next snapshot, if anything changed.
    pub(super) fn commit(&mut self, id: u32) {
        let Some(chain) = self.chain(id) else { return };
        let len = self.books.draft.trim();
        if !self.books.draft.is_changed() {
            return;
        }
        for at in (len..chain.len()).rev() {
            if at >= len + LOOKAHEAD as u32 {
                self.blocks.prefetch(SequenceHash(chain.hash(at - LOOKAHEAD as u32)));
            }
            let hash = SequenceHash(chain.hash(at));
            self.blocks.remove(&mut self.books.tables(), self.guard, hash, Place { id, offset: at });
        }
        let hashes = if len > 0 && len < chain.hashes().capacity() / 4 {
            self.copy(chain, 0..len, len)
        } else {
            chain.hashes()
        };
        self.publish(id, hashes);
    }

    /// Makes the draft the chain's snapshot, with `hashes` as its array.
    pub(super) fn publish(&mut self, id: u32, hashes: Hashes) {
        let old = self.chain(id);
        let Books { draft, ledgers, held, free, pool, .. } = &mut *self.books;
        let ledger = &mut ledgers[id as usize];
        let now_held = draft.held();
        *held = *held + now_held as usize - ledger.held as usize;
        ledger.held = now_held;
        if draft.islands.is_empty() {
            ledger.islands = None;
        } else {
            ledger.islands = Some(draft.islands.as_slice().into());
        }
        let next = if draft.len == 0 {
            std::ptr::null_mut()
        } else {
            // SAFETY: the caller wrote the hashes that the draft counts; the array is retired below, after this.
            unsafe { Chain::allocate(pool, hashes, draft.len, draft.whole, &draft.partials) }
        };
        let moved = old.is_some_and(|old| old.hashes().start() != hashes.start());
        if next.is_null() {
            *ledger = Ledger::default();
            free.push(id);
        } else {
            ledger.written = if moved { draft.len } else { ledger.written.max(draft.len) };
        }
        let replaced = self.chains.replace(id, next);
        if let Some(old) = old {
            // No reader that comes from now on finds the snapshot, nor an array that no snapshot has.
            self.books.garbage.retire(Piece::Snapshot(replaced));
            if moved || next.is_null() {
                self.books.garbage.retire(Piece::Array(old.hashes()));
            }
        }
    }

    /// Cuts a chain in two at `at`, so that all pods that end there end with a chain.
    pub(super) fn cut(&mut self, id: u32, at: u32) {
        let Some(chain) = self.chain(id) else { return };
        let Some(tail_id) = self.books.new_id() else { return };
        self.load(id);
        let mut tail = self.books.draft.cut(at);
        // What a sweep under way would take out need not be made first.
        tail.drop_pods(&self.slots.open_words::<W>().map(|open| !open));
        let len = tail.trim();
        if len > 0 {
            let hashes = self.copy(chain, at..at + len, len);
            let head = std::mem::replace(&mut self.books.draft, tail);
            self.publish(tail_id, hashes);
            self.books.draft = head;
        } else {
            self.books.free.push(tail_id);
        }
        for offset in at..chain.len() {
            let (hash, from) = (SequenceHash(chain.hash(offset)), Place { id, offset });
            if offset < at + len {
                // Before the head's snapshot ends at `at`: who sees it so finds the tail by its own name.
                self.blocks.relocate(self.guard, hash, from, Place { id: tail_id, offset: offset - at });
            } else {
                self.blocks.remove(&mut self.books.tables(), self.guard, hash, from);
            }
        }
        let hashes = self.copy(chain, 0..at, at);
        self.publish(id, hashes);
    }
}
