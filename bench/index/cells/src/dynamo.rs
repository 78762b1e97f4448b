//! The peer: NVIDIA Dynamo's indexes of the crate `dynamo-kv-router`.

use crate::events::stored;
use crate::inputs::{Inputs, local_hashes};
use crate::lane::Lane;
use crate::timing::Lookup;
use crate::workload::Workload;
use dynamo_kv_router::indexer::positional::SearchMode;
use dynamo_kv_router::{
    ConcurrentRadixTreeCompressed, OverlapScores, PositionalIndexer, RadixTree, RouterEvent, SyncIndexer,
};
use std::hint::black_box;

pub const COMPRESSED: &str = "dynamo 1.6.1 compressed radix tree";
pub const JUMP: &str = "dynamo 1.6.1 positional, jump";
pub const BINARY: &str = "dynamo 1.6.1 positional, binary";
pub const RADIX: &str = "dynamo 1.6.1 radix tree, one thread";

/// Blocks a jump, and the window that the binary search leaves to a scan.
const JUMP_SIZE: usize = 64;

pub fn compressed() -> ConcurrentRadixTreeCompressed {
    ConcurrentRadixTreeCompressed::new()
}

pub fn jump() -> PositionalIndexer {
    PositionalIndexer::new_with_mode(JUMP_SIZE, SearchMode::Strided)
}

pub fn binary() -> PositionalIndexer {
    PositionalIndexer::new_with_mode(JUMP_SIZE, SearchMode::Binary)
}

/// An index that holds the workload, and its thread.
pub fn filled<B: SyncIndexer>(index: B, workload: &Workload) -> Lane<B> {
    let mut lane = Lane::new(index);
    workload.stores(|pod, parent, blocks| lane.feed(stored(pod, parent, blocks)));
    lane.flush();
    lane
}

pub fn filled_radix(workload: &Workload) -> RadixTree {
    let mut tree = RadixTree::new();
    workload.stores(|pod, parent, blocks| {
        apply(&mut tree, stored(pod, parent, blocks));
    });
    tree
}

pub fn apply(tree: &mut RadixTree, event: RouterEvent) {
    tree.apply_event(event).expect("the peer takes the workload's events");
}

fn check_answer(name: &str, scores: &OverlapScores, expected: &[(u16, u32)]) {
    let mut answer: Vec<(u16, u32)> =
        scores.scores.iter().map(|(worker, &depth)| (worker.worker_id as u16, depth)).collect();
    answer.sort_unstable();
    assert_eq!(answer, expected, "a wrong answer of {name}");
}

/// Every answer against the pods and depths that the workload knows.
pub fn check<B: SyncIndexer>(name: &str, index: &B, inputs: &Inputs, workload: &Workload) {
    for (query, expected) in inputs.local.iter().zip(&workload.expected) {
        check_answer(name, &index.find_matches(query, false), expected);
    }
}

pub fn check_radix(tree: &RadixTree, inputs: &Inputs, workload: &Workload) {
    for (query, expected) in inputs.local.iter().zip(&workload.expected) {
        check_answer(RADIX, &tree.find_matches(query.clone(), false), expected);
    }
}

pub struct ByHashes<'a, B> {
    pub index: &'a B,
    pub inputs: &'a Inputs,
}

impl<B: SyncIndexer> Lookup for ByHashes<'_, B> {
    type Scratch = ();

    fn ask(&self, query: usize, _: &mut ()) {
        black_box(self.index.find_matches(&self.inputs.local[query], false));
    }
}

pub struct ByTokens<'a, B> {
    pub index: &'a B,
    pub inputs: &'a Inputs,
}

impl<B: SyncIndexer> Lookup for ByTokens<'_, B> {
    type Scratch = ();

    fn ask(&self, query: usize, _: &mut ()) {
        let hashes = local_hashes(&self.inputs.tokens[query]);
        black_box(self.index.find_matches(&hashes, false));
    }
}
