//! Which pods hold how much of a prompt, in all planes and tiers.

use super::chain::Chain;
use crate::hash::SequenceHash;
use crate::index::{Matches, PrefixIndex};
use crate::pods::PodRef;
use crate::state::SharedState;

/// What a pod holds of a prompt, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The pod's slot.
    pub slot: u16,
    /// Leading tokens on the GPU, reported or predicted.
    pub gpu: u32,
    /// Tokens behind those in slower tiers.
    pub lower: u32,
    /// `gpu`, and `lower` for what it is worth: what decisions compare.
    pub worth: u32,
    /// Leading blocks, in all tiers.
    pub blocks: u32,
}

/// Distinct depths from which the slower tiers are looked at: each is a query of its own, and pods differ little.
const MOST_STARTS: usize = 8;

/// Memory for searches, used again and again.
#[derive(Default)]
pub struct Search {
    gpu: Matches,
    lower: Matches,
    starts: Vec<u32>,
}

impl Search {
    /// Ranks the living pods by what they hold of the chains, in place of what `out` held: best first.
    pub fn run(&mut self, state: &SharedState, chains: &[Chain], out: &mut Vec<Holding>) {
        out.clear();
        let lower = state.exact.has_lower();
        for chain in chains {
            state.match_prefix(&chain.hashes, &mut self.gpu);
            let from = out.len();
            out.extend(self.gpu.as_slice().iter().map(|found| {
                let gpu = chain.tokens(found.depth);
                Holding { slot: found.slot, gpu, lower: 0, worth: gpu, blocks: found.depth }
            }));
            if lower {
                self.add_lower(state, chain, from, out);
            }
        }
        if chains.len() > 1 || lower {
            rank(out);
        }
    }

    /// Tokens that one pod holds of a chain: reported on the GPU, reported below it behind those, and predicted.
    pub(super) fn tiers(&mut self, state: &SharedState, chain: &Chain, pod: PodRef) -> [u32; 3] {
        let mut depth = |plane: &PrefixIndex, hashes: &[SequenceHash]| {
            plane.query(hashes, &mut self.gpu);
            let found = self.gpu.as_slice().iter().find(|found| usize::from(found.slot) == pod.slot());
            found.map_or(0, |found| found.depth)
        };
        let gpu = depth(&state.exact.index, &chain.hashes);
        let behind = depth(&state.exact.lower, &chain.hashes[gpu as usize..]);
        let lower = (gpu + behind).max(depth(&state.exact.lower, &chain.hashes));
        let predicted = depth(&state.index, &chain.hashes);
        [chain.tokens(gpu), chain.tokens(lower) - chain.tokens(gpu), chain.tokens(predicted)]
    }

    /// Goes on in the slower tiers where each pod's blocks on the GPU end.
    fn add_lower(&mut self, state: &SharedState, chain: &Chain, from: usize, out: &mut Vec<Holding>) {
        self.starts.clear();
        self.starts.push(0);
        for found in &out[from..] {
            if self.starts.len() < MOST_STARTS && !self.starts.contains(&found.blocks) {
                self.starts.push(found.blocks);
            }
        }
        for &start in &self.starts {
            let Some(rest) = chain.hashes.get(start as usize..) else { continue };
            state.exact.lower.query(rest, &mut self.lower);
            for found in self.lower.as_slice() {
                let blocks = start + found.depth;
                let held = out[from..].iter_mut().find(|held| held.slot == found.slot);
                match held {
                    // Counted from the root, too: a tier that holds everything holds the beginning.
                    Some(held) if start == 0 || held.gpu == chain.tokens(start) => {
                        raise(held, chain, blocks, state);
                    }
                    None if start == 0 => {
                        let mut held = Holding { slot: found.slot, gpu: 0, lower: 0, worth: 0, blocks: 0 };
                        raise(&mut held, chain, blocks, state);
                        out.push(held);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn raise(held: &mut Holding, chain: &Chain, blocks: u32, state: &SharedState) {
    if blocks > held.blocks {
        held.blocks = blocks;
        held.lower = chain.tokens(blocks) - held.gpu;
        held.worth = held.gpu + (f64::from(held.lower) * state.lower_tier_worth()) as u32;
    }
}

/// Best first, by slot where equal, each slot once with its best.
fn rank(out: &mut Vec<Holding>) {
    out.sort_unstable_by(|a, b| (a.slot, b.worth).cmp(&(b.slot, a.worth)));
    out.dedup_by_key(|held| held.slot);
    out.sort_unstable_by(|a, b| b.worth.cmp(&a.worth).then(a.slot.cmp(&b.slot)));
}
