//! The same answers by linear scan: the reference that tests and benches compare with.

use super::Match;
use crate::hash::SequenceHash;
use hashbrown::{HashMap, HashSet};

/// Pod by pod and block by block, with no cleverness at all.
#[derive(Default)]
pub struct NaiveIndex {
    blocks: HashMap<u32, HashSet<SequenceHash>>,
}

impl NaiveIndex {
    /// Adds a pod without blocks.
    pub fn add_pod(&mut self, slot: u32) {
        self.blocks.insert(slot, HashSet::new());
    }

    /// Removes a pod.
    pub fn remove_pod(&mut self, slot: u32) {
        self.blocks.remove(&slot);
    }

    /// The pod holds these blocks.
    pub fn store(&mut self, slot: u32, hashes: &[SequenceHash]) {
        if let Some(blocks) = self.blocks.get_mut(&slot) {
            blocks.extend(hashes);
        }
    }

    /// The pod holds these blocks no more.
    pub fn remove(&mut self, slot: u32, hashes: &[SequenceHash]) {
        if let Some(blocks) = self.blocks.get_mut(&slot) {
            hashes.iter().for_each(|hash| {
                blocks.remove(hash);
            });
        }
    }

    /// The pod holds nothing.
    pub fn clear(&mut self, slot: u32) {
        if let Some(blocks) = self.blocks.get_mut(&slot) {
            blocks.clear();
        }
    }

    /// Whether the pod holds the block.
    pub fn holds(&self, slot: u32, hash: SequenceHash) -> bool {
        self.blocks.get(&slot).is_some_and(|blocks| blocks.contains(&hash))
    }

    /// Leading blocks that the pod holds.
    pub fn depth(&self, slot: u32, hashes: &[SequenceHash]) -> u32 {
        hashes.iter().take_while(|&&hash| self.holds(slot, hash)).count() as u32
    }

    /// Pods with at least one leading block, deepest first, by slot where equal.
    pub fn query(&self, hashes: &[SequenceHash]) -> Vec<Match> {
        let mut ranked: Vec<Match> = self
            .blocks
            .keys()
            .map(|&slot| Match { slot: slot as u16, depth: self.depth(slot, hashes) })
            .filter(|found| found.depth > 0)
            .collect();
        ranked.sort_unstable_by_key(|found| (std::cmp::Reverse(found.depth), found.slot));
        ranked
    }

    /// Blocks that some pod holds.
    pub fn entries(&self) -> usize {
        self.blocks.values().flatten().collect::<HashSet<_>>().len()
    }
}
