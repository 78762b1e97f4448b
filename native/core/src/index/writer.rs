//! What writers do, under the lock: find the chains that a batch of blocks is in, and change who holds what of them.

use super::blocks::Blocks;
use super::books::Books;
use super::chain::{Chain, Pods, both, drop_pod};
use super::chains::Chains;
use super::slots::Slots;
use super::table::{MAX_LEN, Place};
use crate::hash::SequenceHash;
use crossbeam_epoch::Guard;

/// How far ahead a batch starts its cache misses: at about 15 ns a block, a DRAM latency.
pub(super) const LOOKAHEAD: usize = 8;
/// Pods that may end at one block in the middle of a chain. A query reads those one by one, and the ones that end with
/// a chain as one bitmap; so where more pods end (a system prompt that all share), the chain is cut.
const CROWD: usize = 3;

/// Blocks that a sweep takes out of the table under one lock, give or take a chain: at some 20 ns each, 40 µs.
const SWEEP_BLOCKS: usize = 2048;

/// The lock's holder at work.
pub(super) struct Writer<'a, const W: usize> {
    pub(super) blocks: &'a Blocks,
    pub(super) chains: &'a Chains<W>,
    pub(super) books: &'a mut Books<W>,
    pub(super) guard: &'a Guard,
    pub(super) slots: &'a Slots,
}

impl<'a, const W: usize> Writer<'a, W> {
    pub(super) fn chain(&self, id: u32) -> Option<&'a Chain<W>> {
        self.chains.get(self.guard, id)
    }

    fn find(&self, hash: SequenceHash) -> Option<Place> {
        self.blocks.find(self.chains, self.guard, hash).map(|(_, place)| place)
    }

    /// The pod holds these blocks, each the next one's parent.
    pub(super) fn store(&mut self, slot: usize, parent: Option<SequenceHash>, hashes: &[SequenceHash]) {
        hashes.iter().take(LOOKAHEAD).for_each(|&hash| self.blocks.prefetch(hash));
        let mut rest = hashes;
        let mut previous = None;
        while let Some(&hash) = rest.first() {
            let count;
            (count, previous) = match self.find(hash) {
                Some(place) => self.follow(slot, place, rest),
                None => {
                    let at_start = rest.len() == hashes.len();
                    let parent =
                        if at_start { parent.and_then(|parent| self.find(parent)) } else { previous };
                    self.grow(slot, parent, rest)
                }
            };
            rest = &rest[count..];
        }
    }

    /// The first of `rest` is at `place`: covers as many as are in that chain. Answers how many, and where the last is.
    fn follow(&mut self, slot: usize, place: Place, rest: &[SequenceHash]) -> (usize, Option<Place>) {
        let Some(chain) = self.chain(place.id) else { return (1, None) };
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
                    return (known, self.find(rest[known - 1]));
                }
            }
        }
        (known, Some(Place { id: place.id, offset: to - 1 }))
    }

    /// The first of `rest` is new: adds as many as are, at the end of the chain that `previous` ends, or in a new one.
    /// Answers as [`Writer::follow`].
    fn grow(
        &mut self,
        slot: usize,
        previous: Option<Place>,
        rest: &[SequenceHash],
    ) -> (usize, Option<Place>) {
        let Some((id, from)) = self.place_for(slot, previous) else { return (rest.len(), None) };
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
        ((to - from) as usize, Some(Place { id, offset: to - 1 }))
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
            drop_pod(&mut others, slot);
            if others.iter().map(|word| word.count_ones() as usize).sum::<usize>() <= CROWD {
                return Some((place.id, chain.len()));
            }
        }
        self.books.new_id().map(|id| (id, 0))
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

    /// Takes pods out of up to `count` chains from number `from` on, fewer if many blocks leave the table with them.
    /// Answers where to go on, if anywhere.
    pub(super) fn sweep(&mut self, gone: &Pods<W>, from: u32, count: u32) -> Option<u32> {
        let all = self.books.ledgers.len() as u32;
        let to = from.saturating_add(count).min(all);
        let held = self.books.held();
        for id in from..to {
            let islands = self.books.ledgers[id as usize].islands.is_some();
            if self.chain(id).is_some_and(|chain| islands || both(&chain.reaching(1), gone) != [0; W]) {
                self.load(id);
                self.books.draft.drop_pods(gone);
                self.commit(id);
            }
            if held - self.books.held() > SWEEP_BLOCKS {
                return (id + 1 < all).then_some(id + 1);
            }
        }
        (to < all).then_some(to)
    }
}
