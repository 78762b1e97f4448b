//! The query: how deep is each pod's run of a request's leading blocks?
//!
//! Hashes are cumulative: one stands for its block and all before it. So the first block leads to a chain, and one
//! comparison, at the chain's end, proves all of its blocks at once; the next block leads to the next chain. Most
//! conversations are one chain or two (a system prompt, then their own), so a query of 2,000 blocks reads half a dozen
//! cache lines. Where a request leaves a chain in its middle, the place is searched for.
//!
//! Each chain brings the set of pods that hold all of it, and the ends of those that hold a part: that *is* the answer,
//! in the order it is wanted in. Pods go from one chain to the next only if they hold all of the one before.
//!
//! # What an answer means
//!
//! With nothing changing meanwhile, the depth of a pod is exactly the number of leading blocks that it holds, as a
//! linear scan over them would find it, whatever holes it has behind them (a pod's blocks behind a hole are kept as
//! islands, which no query sees until the hole is filled). This is for hashes that are cumulative; for others, an
//! answer is made of true statements about chains, but chains are not what they say.
//! It is also for stores that name the block before them, or none: one that names another block puts its blocks behind
//! that, and its pods' depths come out too low until they are stored again, never too high.
//! A request may begin in the middle of a chain (its caller has cut off the beginning): then blocks in islands do not
//! count, all else is as above.
//!
//! Under concurrent changes each chain is seen as it was at some moment of the query, one after the other.

use super::chain::{Chain, Pods, add, both, has, without};
use super::forest::Forest;
use crate::hash::SequenceHash;
use crossbeam_epoch::Guard;

/// A pod and the number of leading blocks it holds; never 0 in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Match {
    /// The pod's slot.
    pub slot: u16,
    /// Leading blocks that the pod holds.
    pub depth: u32,
}

/// One chain on a request's way.
struct Step<const W: usize> {
    chain: *const Chain<W>,
    /// Blocks of the request before this chain.
    base: u32,
    /// The request's part of the chain.
    from: u32,
    to: u32,
    /// Pods that hold everything before, and those that hold this part too.
    entered: Pods<W>,
    through: Pods<W>,
}

/// A request's way through the chains; kept by the caller so that a query allocates nothing.
pub(super) struct Way<const W: usize>(Vec<Step<W>>);

// SAFETY: the pointers in it are followed only by the query that wrote them, under its guard.
unsafe impl<const W: usize> Send for Way<W> {}

impl<const W: usize> Default for Way<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Writes the pods of `alive` that hold at least the first block, deepest first, by slot where equal.
pub(super) fn search<const W: usize>(
    forest: &Forest<W>,
    guard: &Guard,
    alive: Pods<W>,
    hashes: &[SequenceHash],
    way: &mut Way<W>,
    out: &mut Vec<Match>,
) {
    out.clear();
    way.0.clear();
    walk(forest, guard, alive, SequenceHash::raw(hashes), way);
    rank(way, out);
}

fn walk<const W: usize>(forest: &Forest<W>, guard: &Guard, alive: Pods<W>, hashes: &[u64], way: &mut Way<W>) {
    let mut base = 0;
    let mut entered = alive;
    while let Some(&hash) = hashes.get(base) {
        let Some((chain, from)) = forest.find(guard, SequenceHash(hash)) else { return };
        let length = chain.matching(from, &hashes[base..]);
        let to = from + length;
        let through = both(&entered, &chain.reaching(to));
        way.0.push(Step { chain, base: base as u32, from, to, entered, through });
        if through == [0; W] {
            return;
        }
        base += length as usize;
        entered = through;
    }
}

/// The last chain first: who got through all of it, then who ends in it, by depth; then the one before.
fn rank<const W: usize>(way: &Way<W>, out: &mut Vec<Match>) {
    let mut written = [0; W];
    for step in way.0.iter().rev() {
        write(&without(&step.through, &written), step.base + (step.to - step.from), out);
        // SAFETY: found under the guard that the query still holds.
        let chain = unsafe { &*step.chain };
        let inside = chain.partials().iter().skip_while(|partial| partial.end() >= step.to);
        for &partial in inside.take_while(|partial| partial.end() > step.from) {
            if has(&step.entered, partial.slot()) {
                let depth = step.base + (partial.end() - step.from);
                out.push(Match { slot: partial.slot() as u16, depth });
                add(&mut written, partial.slot());
            }
        }
        written.iter_mut().zip(&step.through).for_each(|(written, through)| *written |= through);
    }
}

/// Writes a set of pods of one depth, run by run of neighbours, so that a fleet's answer is written as vectors.
fn write<const W: usize>(pods: &Pods<W>, depth: u32, out: &mut Vec<Match>) {
    for (word, &bits) in pods.iter().enumerate() {
        let mut rest = bits;
        let mut slot = word as u32 * 64;
        while rest != 0 {
            let gap = rest.trailing_zeros();
            let run = (rest >> gap).trailing_ones();
            slot += gap;
            out.extend((slot..slot + run).map(|slot| Match { slot: slot as u16, depth }));
            slot += run;
            // In two steps, as a run of 64 is more than one shift can do.
            rest = rest >> gap >> (run - 1) >> 1;
        }
    }
}
