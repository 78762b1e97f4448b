//! The index under test.

use crate::inputs::{Inputs, root};
use crate::timing::Lookup;
use crate::workload::{BLOCK_SIZE, Block, Workload};
use phyllo_core::hash::{SequenceHash, hash_blocks};
use phyllo_core::index::owned::OwnedIndex;
use phyllo_core::index::{Matches, Width};
use std::cmp::Reverse;

pub const NAME: &str = "phyllo";

/// The narrowest index for these pods.
pub fn empty(pods: usize) -> OwnedIndex {
    roomy(pods, pods)
}

/// The narrowest index that has room for so many, with these pods.
pub fn roomy(pods: usize, room: usize) -> OwnedIndex {
    let widths = [Width::Pods64, Width::Pods256, Width::Pods1024];
    let width = widths.into_iter().find(|width| width.pods() >= room).expect("at most 1,024 pods");
    let index = OwnedIndex::new(width);
    for pod in 0..pods {
        assert_eq!(index.add_pod(), Some(pod as u32), "a new index gives its slots in order");
    }
    index
}

pub fn hashes(blocks: &[Block], out: &mut Vec<SequenceHash>) {
    out.clear();
    out.extend(blocks.iter().map(|block| SequenceHash(block.sequence)));
}

/// An index that holds the workload.
pub fn filled(workload: &Workload) -> OwnedIndex {
    let index = empty(workload.shape.pods);
    fill(&index, workload);
    index
}

/// Stores the workload.
pub fn fill(index: &OwnedIndex, workload: &Workload) {
    let mut batch = Vec::new();
    workload.stores(|pod, parent, blocks| {
        hashes(blocks, &mut batch);
        index.store(u32::from(pod), parent.map(|block| SequenceHash(block.sequence)), &batch);
    });
}

/// Every answer against the pods and depths that the workload knows, and their order.
pub fn check(index: &OwnedIndex, inputs: &Inputs, workload: &Workload) {
    let mut matches = Matches::default();
    for (query, expected) in inputs.sequence.iter().zip(&workload.expected) {
        index.query(query, &mut matches);
        assert!(
            matches.as_slice().is_sorted_by_key(|m| (Reverse(m.depth), m.slot)),
            "an answer of phyllo is not deepest first, by slot where equal"
        );
        let mut answer: Vec<(u16, u32)> = matches.as_slice().iter().map(|m| (m.slot, m.depth)).collect();
        answer.sort_unstable();
        assert_eq!(&answer, expected, "a wrong answer of phyllo");
    }
}

pub struct ByHashes<'a> {
    pub index: &'a OwnedIndex,
    pub inputs: &'a Inputs,
}

impl Lookup for ByHashes<'_> {
    type Scratch = Matches;

    fn ask(&self, query: usize, matches: &mut Matches) {
        self.index.query(&self.inputs.sequence[query], matches);
        std::hint::black_box(matches.as_slice());
    }
}

pub struct ByTokens<'a> {
    pub index: &'a OwnedIndex,
    pub inputs: &'a Inputs,
}

impl Lookup for ByTokens<'_> {
    type Scratch = (Vec<SequenceHash>, Matches);

    // The root too is made anew for each request, as the router does: a request may bring a salt.
    fn ask(&self, query: usize, (hashes, matches): &mut Self::Scratch) {
        hash_blocks(root(), &self.inputs.tokens[query], BLOCK_SIZE, hashes);
        self.index.query(hashes, matches);
        std::hint::black_box(matches.as_slice());
    }
}
