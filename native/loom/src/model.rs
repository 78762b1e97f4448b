//! The index as the models use it: 64 pods of one generation, hashes that are small numbers.

use super::forest::Forest;
use super::search::{Way, search};
use super::slots::Slots;
use crate::hash::SequenceHash;
use crate::pods::PodRef;

/// An index and its slots.
pub struct Model {
    forest: Forest<1>,
    slots: Slots,
}

fn pod(slot: u32) -> PodRef {
    PodRef::new(slot, 1)
}

fn hashes(numbers: &[u64]) -> Vec<SequenceHash> {
    // Far apart, so that shards and homes differ; never equal, as the factor is odd.
    numbers.iter().map(|number| SequenceHash(number.wrapping_mul(0xD6E8_FEB8_6659_FD93))).collect()
}

impl Model {
    /// With the first `pods` slots in use.
    pub fn new(pods: u32) -> Self {
        let model = Self { forest: Forest::new(), slots: Slots::default() };
        for slot in 0..pods {
            model.slots.open(pod(slot));
            model.slots.show(pod(slot));
        }
        model
    }

    /// The pod holds these blocks, which follow `parent`.
    pub fn store(&self, slot: u32, parent: Option<u64>, blocks: &[u64]) {
        let parent = parent.map(|parent| hashes(&[parent])[0]);
        self.forest.store(&self.slots, pod(slot), parent, &hashes(blocks));
    }

    /// The pod holds them no more.
    pub fn remove(&self, slot: u32, blocks: &[u64]) {
        self.forest.remove(&self.slots, pod(slot), &hashes(blocks));
    }

    /// The pod leaves: no query sees it from here on.
    pub fn close(&self, slot: u32) {
        self.slots.close(pod(slot));
    }

    /// Second half of its leaving.
    pub fn sweep(&self, slot: u32) {
        self.forest.sweep(&self.slots, &[1 << slot]);
    }

    /// Depth of each of the first `pods` slots.
    pub fn depths<const PODS: usize>(&self, blocks: &[u64]) -> [u32; PODS] {
        let guard = crossbeam_epoch::pin();
        let (mut way, mut out) = (Way::default(), Vec::new());
        search(&self.forest, &guard, self.slots.alive_words(), &hashes(blocks), &mut way, &mut out);
        std::array::from_fn(|slot| {
            out.iter().find(|found| usize::from(found.slot) == slot).map_or(0, |found| found.depth)
        })
    }
}
