//! What writers do, under the lock: find the chains that a batch of blocks is in, and publish their next snapshots.

use super::blocks::{Blocks, Counts, Tables};
use super::chain::{Chain, Hashes, Pods, both};
use super::chains::Chains;
use super::draft::{Draft, Island};
use super::garbage::{Garbage, Piece};
use super::pool::Pool;
use super::slots::Slots;
use super::table::{FIRST_ID, MAX_ID, MAX_LEN, Place};
use crate::hash::SequenceHash;
use crossbeam_epoch::Guard;
use std::ops::Range;

/// How far ahead a batch starts its cache misses: at about 15 ns a block, a DRAM latency.
const LOOKAHEAD: usize = 8;
/// Pods that may end at one block in the middle of a chain. A query reads those one by one, and the ones that end with
/// a chain as one bitmap; so where more pods end (a system prompt that all share), the chain is cut.
const CROWD: usize = 3;

/// Blocks up to which an array that is full is doubled: half a kilobyte.
const DOUBLING: u32 = 64;

/// What a writer knows of a chain besides its snapshot.
#[derive(Default)]
struct Ledger {
    /// Hashes in the array that some snapshot reached, now or earlier.
    written: u32,
    /// Blocks that some pod holds.
    held: u32,
    islands: Option<Box<[Island]>>,
}

/// All that the writer lock protects.
pub(super) struct Books<const W: usize> {
    counts: Counts,
    /// By chain number; the first [`FIRST_ID`] are not used.
    ledgers: Vec<Ledger>,
    free: Vec<u32>,
    /// Sweeps under way.
    pub(super) sweeps: usize,
    held: usize,
    pool: Pool,
    draft: Draft<W>,
    pub(super) garbage: Garbage<W>,
}

impl<const W: usize> Books<W> {
    pub(super) fn new(counts: Counts, pool: Pool) -> Self {
        let ledgers = (0..FIRST_ID).map(|_| Ledger::default()).collect();
        Self {
            counts,
            ledgers,
            free: Vec::new(),
            sweeps: 0,
            held: 0,
            pool,
            draft: Draft::default(),
            garbage: Garbage::new(),
        }
    }

    /// Gives back what no reader has any more.
    pub(super) fn empty_bin(&mut self) {
        self.garbage.empty_bin(&mut self.pool);
    }

    fn tables(&mut self) -> Tables<'_, W> {
        Tables { counts: &mut self.counts, garbage: &mut self.garbage, pool: &mut self.pool }
    }

    /// Where no chain is left: after churn, no memory is kept for as many again.
    pub(super) fn settle(&mut self) {
        if self.sweeps == 0
            && !self.free.is_empty()
            && self.free.len() + FIRST_ID as usize == self.ledgers.len()
        {
            self.ledgers.truncate(FIRST_ID as usize);
            self.ledgers.shrink_to_fit();
            self.free = Vec::new();
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn bytes(&self) -> usize {
        self.pool.used()
            + self.ledgers.capacity() * size_of::<Ledger>()
            + self.free.capacity() * size_of::<u32>()
    }
}

/// The lock's holder at work.
pub(super) struct Writer<'a, const W: usize> {
    pub(super) blocks: &'a Blocks,
    pub(super) chains: &'a Chains<W>,
    pub(super) books: &'a mut Books<W>,
    pub(super) guard: &'a Guard,
    pub(super) slots: &'a Slots,
}

impl<'a, const W: usize> Writer<'a, W> {
    fn chain(&self, id: u32) -> Option<&'a Chain<W>> {
        self.chains.get(self.guard, id)
    }

    fn find(&self, hash: SequenceHash) -> Option<Place> {
        self.blocks.find(self.chains, self.guard, hash)
    }

    /// The pod holds these blocks, each the next one's parent.
    pub(super) fn store(&mut self, slot: usize, parent: Option<SequenceHash>, hashes: &[SequenceHash]) {
        hashes.iter().take(LOOKAHEAD).for_each(|&hash| self.blocks.prefetch(hash));
        let mut done = 0;
        let mut previous = None;
        while let Some(&hash) = hashes.get(done) {
            let rest = &hashes[done..];
            (done, previous) = match self.find(hash) {
                Some(place) => self.follow(slot, place, done, rest),
                None => {
                    let previous =
                        if done == 0 { parent.and_then(|parent| self.find(parent)) } else { previous };
                    self.grow(slot, previous, done, rest)
                }
            };
        }
    }

    /// The first of `rest` is at `place`: covers as many as are in that chain.
    fn follow(
        &mut self,
        slot: usize,
        place: Place,
        done: usize,
        rest: &[SequenceHash],
    ) -> (usize, Option<Place>) {
        let Some(chain) = self.chain(place.id) else { return (done + 1, None) };
        let known =
            (place.offset..chain.len()).zip(rest).take_while(|&(at, hash)| chain.hash(at) == hash.0).count();
        let to = place.offset + known as u32;
        // Most of what is stored again is held by the pod already.
        if to > chain.end_of(slot) {
            self.load(place.id);
            self.books.draft.cover(slot, place.offset, to);
            let crowded = self.books.draft.crowded(slot, CROWD);
            self.commit(place.id);
            if let Some(at) = crowded {
                self.cut(place.id, at);
                if at < to {
                    return (done + known, self.find(rest[known - 1]));
                }
            }
        }
        (done + known, Some(Place { id: place.id, offset: to - 1 }))
    }

    /// The first of `rest` is new: adds as many as are, at the end of the chain that `previous` ends, or in a new one.
    fn grow(
        &mut self,
        slot: usize,
        previous: Option<Place>,
        done: usize,
        rest: &[SequenceHash],
    ) -> (usize, Option<Place>) {
        let Some((id, from)) = self.place_for(slot, previous) else { return (done + rest.len(), None) };
        let room = rest.len().min((MAX_LEN - from) as usize);
        let hashes = self.reserve(id, from, room as u32);
        let mut to = from;
        for (at, &hash) in rest[..room].iter().enumerate() {
            if let Some(&ahead) = rest.get(at + LOOKAHEAD) {
                self.blocks.prefetch(ahead);
            }
            let place = Place { id, offset: to };
            if self.blocks.insert(&mut self.books.tables(), self.chains, self.guard, hash, place).is_some() {
                break;
            }
            // SAFETY: `reserve` gave an array in which no snapshot reaches `from`, and the lock is held.
            unsafe { hashes.write(to, hash.0) };
            to += 1;
        }
        self.load(id);
        let draft = &mut self.books.draft;
        draft.lengthen(to);
        draft.cover(slot, from, to);
        self.publish(id, hashes);
        (done + (to - from) as usize, Some(Place { id, offset: to - 1 }))
    }

    /// The chain to write new blocks to that follow `previous`, and the offset of the first; `None` if there are more
    /// chains than numbers.
    fn place_for(&mut self, slot: usize, previous: Option<Place>) -> Option<(u32, u32)> {
        if let Some(place) = previous
            && let Some(chain) = self.chain(place.id)
            && place.offset + 1 == chain.len()
            && chain.len() < MAX_LEN
        {
            // Who held the whole chain will end in its middle.
            let mut others = *chain.whole();
            others[slot / 64] &= !(1 << (slot % 64));
            if others.iter().map(|word| word.count_ones() as usize).sum::<usize>() <= CROWD {
                return Some((place.id, chain.len()));
            }
        }
        self.new_id().map(|id| (id, 0))
    }

    fn new_id(&mut self) -> Option<u32> {
        // While a sweep is under way, only numbers that it comes to later.
        if self.books.sweeps == 0
            && let Some(id) = self.books.free.pop()
        {
            return Some(id);
        }
        let id = u32::try_from(self.books.ledgers.len()).ok().filter(|&id| id <= MAX_ID)?;
        self.books.ledgers.push(Ledger::default());
        Some(id)
    }

    /// An array for the chain with room for `more` hashes from `from` on, its first `from` written.
    fn reserve(&mut self, id: u32, from: u32, more: u32) -> Hashes {
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

    /// The pod does not hold these blocks any more. Neighbours in the batch that are neighbours in a chain, in either
    /// direction, are taken out together.
    pub(super) fn remove(&mut self, slot: usize, hashes: &[SequenceHash]) {
        hashes.iter().take(LOOKAHEAD).for_each(|&hash| self.blocks.prefetch(hash));
        let mut stretch: Option<(u32, u32, u32)> = None;
        for (at, &hash) in hashes.iter().enumerate() {
            if let Some(&ahead) = hashes.get(at + LOOKAHEAD) {
                self.blocks.prefetch(ahead);
            }
            // A guess first: the block before or behind, which needs no look into the table.
            stretch = match (self.beside(stretch, hash), stretch) {
                (Some(longer), _) => Some(longer),
                (None, stretch) => {
                    self.uncover(slot, stretch);
                    self.find(hash).map(|place| (place.id, place.offset, place.offset + 1))
                }
            };
        }
        self.uncover(slot, stretch);
    }

    fn beside(&self, stretch: Option<(u32, u32, u32)>, hash: SequenceHash) -> Option<(u32, u32, u32)> {
        let (id, from, to) = stretch?;
        let chain = self.chain(id)?;
        if from > 0 && chain.hash(from - 1) == hash.0 {
            return Some((id, from - 1, to));
        }
        (to < chain.len() && chain.hash(to) == hash.0).then_some((id, from, to + 1))
    }

    fn uncover(&mut self, slot: usize, stretch: Option<(u32, u32, u32)>) {
        if let Some((id, from, to)) = stretch {
            self.load(id);
            self.books.draft.uncover(slot, from, to);
            self.commit(id);
        }
    }

    /// Takes pods out of `count` chains from number `from` on, and answers where to go on, if anywhere.
    pub(super) fn sweep(&mut self, gone: &Pods<W>, from: u32, count: u32) -> Option<u32> {
        let all = self.books.ledgers.len() as u32;
        let to = from.saturating_add(count).min(all);
        for id in from..to {
            let islands = self.books.ledgers[id as usize].islands.is_some();
            if self.chain(id).is_some_and(|chain| islands || both(&chain.reaching(1), gone) != [0; W]) {
                self.load(id);
                self.books.draft.drop_pods(gone);
                self.commit(id);
            }
        }
        (to < all).then_some(to)
    }

    fn load(&mut self, id: u32) {
        let chain = self.chain(id);
        let Books { draft, ledgers, .. } = &mut *self.books;
        draft.load(chain, ledgers[id as usize].islands.as_deref().unwrap_or_default());
    }

    /// Publishes the draft as the chain's next snapshot, if anything changed.
    fn commit(&mut self, id: u32) {
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
    fn publish(&mut self, id: u32, hashes: Hashes) {
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
            unsafe { Chain::allocate(pool, hashes, draft.len, draft.whole.0, &draft.partials) }
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
    fn cut(&mut self, id: u32, at: u32) {
        let Some(chain) = self.chain(id) else { return };
        let Some(tail_id) = self.new_id() else { return };
        self.load(id);
        let mut tail = self.books.draft.cut(at);
        // The number may be one that a sweep has passed: what it would have taken out stays behind.
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
