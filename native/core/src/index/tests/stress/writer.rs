//! One writer of the stress test: it makes a change, and says before and after it between which bounds depths are.

use super::super::super::naive::NaiveIndex;
use super::super::super::{PrefixIndex, retire};
use super::super::prompts::{PROMPTS, unseen};
use super::{BLOCKS, PODS, Random, Shared, slot_of};
use crate::hash::SequenceHash;
use crate::pods::PodRef;

/// More than the tables have room for, all shards taken together.
const CHURN: usize = if cfg!(miri) { 60 } else { 1200 };

/// A thread's pods and what they hold.
pub(super) struct Writer<'a> {
    shared: &'a Shared,
    /// By slot.
    pub(super) held: NaiveIndex,
    generation: [u64; PODS],
    /// The first of its pods.
    pub(super) first: usize,
    random: Random,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: &'a Shared, number: usize) -> Self {
        let (first, random) = (number * PODS, Random(number as u64));
        let mut writer = Self { shared, held: NaiveIndex::default(), generation: [0; PODS], first, random };
        (0..PODS).for_each(|own| writer.open(own));
        writer
    }

    pub(super) fn pod(&self, own: usize) -> PodRef {
        PodRef::new(slot_of(self.first + own), self.generation[own])
    }

    fn open(&mut self, own: usize) {
        self.generation[own] += 1;
        let pod = self.pod(own);
        self.shared.slots.open(pod);
        self.shared.slots.show(pod);
        self.held.add_pod(pod.slot() as u32);
    }

    fn depths(&self, own: usize) -> [usize; PROMPTS] {
        let slot = slot_of(self.first + own);
        std::array::from_fn(|prompt| self.held.depth(slot, &self.shared.prompts[prompt]) as usize)
    }

    /// Does to the index what `note` does to what is known of it.
    fn change(
        &mut self,
        own: usize,
        note: impl FnOnce(&mut NaiveIndex, u32),
        make: impl FnOnce(&PrefixIndex),
    ) {
        let before = self.depths(own);
        note(&mut self.held, slot_of(self.first + own));
        let after = self.depths(own);
        let bounds = &self.shared.bounds[self.first + own];
        let moves = || (0..PROMPTS).filter(|&prompt| before[prompt] != after[prompt]);
        moves().for_each(|i| bounds[i].set(before[i].min(after[i]), before[i].max(after[i])));
        make(&self.shared.index);
        moves().for_each(|i| bounds[i].set(after[i], after[i]));
    }

    pub(super) fn step(&mut self) {
        let (own, shared) = (self.random.below(PODS), self.shared);
        let pod = self.pod(own);
        let hashes = &shared.prompts[self.random.below(PROMPTS)];
        let places = [0, 0].map(|_| BLOCKS * self.random.below(9) / 8);
        let (from, to) = (places[0].min(places[1]), places[0].max(places[1]));
        match self.random.below(20) {
            0..8 => {
                let blocks = &hashes[..to];
                self.change(
                    own,
                    |held, slot| held.store(slot, blocks),
                    |index| index.store(pod, None, blocks),
                );
            }
            8..11 => {
                let (parent, blocks) = (from.checked_sub(1).map(|at| hashes[at]), &hashes[from..to]);
                self.change(
                    own,
                    |held, slot| held.store(slot, blocks),
                    |index| index.store(pod, parent, blocks),
                );
            }
            11..17 => {
                let to = if self.random.below(3) == 0 { to } else { BLOCKS };
                let blocks = &hashes[from..to];
                self.change(own, |held, slot| held.remove(slot, blocks), |index| index.remove(pod, blocks));
            }
            17 => self.change(own, |held, slot| held.clear(slot), |index| index.clear(pod)),
            18 => self.replace(own),
            _ => self.churn(pod),
        }
    }

    /// The pod leaves, late events of its own come, and another gets the slot.
    fn replace(&mut self, own: usize) {
        let (shared, pod) = (self.shared, self.pod(own));
        let leave = |index: &PrefixIndex| {
            assert!(retire(&shared.slots, std::slice::from_ref(index), pod));
        };
        self.change(own, |held, slot| held.remove_pod(slot), leave);
        shared.index.store(pod, None, &shared.prompts[0]);
        shared.index.wait_swept();
        assert!(shared.index.is_swept(pod.slot()));
        shared.index.store(pod, None, &shared.prompts[1]);
        self.open(own);
    }

    /// Blocks that nobody else has, more than tables have room for: they grow, chain numbers go round, and all shrinks.
    fn churn(&mut self, pod: PodRef) {
        let own = |hash: SequenceHash| SequenceHash(hash.0 ^ (pod.slot() as u64 + 1) << 32);
        let blocks: Vec<SequenceHash> = unseen(CHURN).map(own).collect();
        blocks.chunks(CHURN / 40).for_each(|chunk| self.shared.index.store(pod, None, chunk));
        self.shared.index.remove(pod, &blocks);
    }
}
