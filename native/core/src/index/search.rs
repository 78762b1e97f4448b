//! The grouped binary search: how deep is each pod's run of a request's leading blocks?
//!
//! A pod that holds block i holds the blocks before it, so its depth can be searched by halves; and all pods that have
//! answered alike so far are one group, searched by one probe. Each probe splits a group: pods that hold the middle
//! block go right, the others left. With K distinct depths among the pods that makes O(K log N) probes.
//!
//! All groups of one level are probed together, so that their cache misses overlap: in a table larger than the cache
//! that is what a query costs. A level takes one memory latency, whatever K; and as the next level's probe of a group
//! is one of two blocks, both are fetched ahead, so that two levels share one latency.
//!
//! # What holds when the blocks held are not a prefix
//!
//! Events get lost or come late, so a pod's blocks may have holes. A pod is put at depth d only after block d-1 was
//! probed and held (or d = 0), and block d was probed and missing (or d = N). So, with nothing changing meanwhile:
//! - block d-1 is really held, and block d is not: d is an end of a run of blocks;
//! - d is never less than the linear scan's answer L (the first missing block): d < L would mean that block d is held;
//! - d > L only if the pod has a hole before a block that it holds: the error is at most the distance from the first
//!   hole to the last block held, and a state without holes is answered exactly.
//!
//! Each probe sees a state of the index that was true during the query, so under concurrent changes the same holds
//! with "held at some moment of the query".

use super::sharded::Sharded;
use crate::hash::SequenceHash;
use crossbeam_epoch::Guard;

/// A pod and the number of leading blocks it holds; never 0 in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The pod's slot.
    pub slot: u16,
    /// Leading blocks that the pod holds.
    pub depth: u32,
}

/// Pods that have answered all probes so far alike: they hold block `least - 1` and their depth is at most `most`.
#[derive(Clone, Copy)]
struct Group<const W: usize> {
    least: u32,
    most: u32,
    pods: [u64; W],
}

impl<const W: usize> Group<W> {
    /// The depth to ask for next; above `least` as long as `least < most`.
    #[inline]
    fn middle(&self) -> u32 {
        self.least + (self.most - self.least).div_ceil(2)
    }
}

/// The groups of one level and of the next, deepest first; kept by the caller so that a query allocates nothing.
pub(super) struct Levels<const W: usize> {
    now: Vec<Group<W>>,
    next: Vec<Group<W>>,
}

impl<const W: usize> Default for Levels<W> {
    fn default() -> Self {
        Self { now: Vec::new(), next: Vec::new() }
    }
}

/// Fetching both possible next probes doubles the lines that a level loads. It pays while those are fewer than the
/// processor can have under way (10 to 20); with more groups, the level's own misses fill that already.
const SPECULATE: usize = 6;

struct Search<'a, const W: usize> {
    index: &'a Sharded<W>,
    guard: &'a Guard,
    hashes: &'a [SequenceHash],
}

impl<const W: usize> Search<'_, W> {
    #[inline]
    fn prefetch(&self, group: &Group<W>, both_next: bool) {
        if group.least == group.most {
            return;
        }
        let middle = group.middle();
        self.index.prefetch(self.hashes[middle as usize - 1]);
        if both_next {
            for (least, most) in [(middle, group.most), (group.least, middle - 1)] {
                if least < most {
                    let next = least + (most - least).div_ceil(2);
                    self.index.prefetch(self.hashes[next as usize - 1]);
                }
            }
        }
    }

    /// Splits a group by its middle block, the deeper half first. Answers whether one of the halves goes on.
    #[inline]
    fn split(&self, group: &Group<W>, out: &mut Vec<Group<W>>, both_next: bool) -> bool {
        let middle = group.middle();
        let held = self.index.get(self.guard, self.hashes[middle as usize - 1]);
        let hits: [u64; W] = std::array::from_fn(|word| group.pods[word] & held[word]);
        let misses: [u64; W] = std::array::from_fn(|word| group.pods[word] & !held[word]);
        let mut open = false;
        for half in [
            Group { least: middle, most: group.most, pods: hits },
            Group { least: group.least, most: middle - 1, pods: misses },
        ] {
            if half.pods != [0; W] {
                self.prefetch(&half, both_next);
                open |= half.least < half.most;
                out.push(half);
            }
        }
        open
    }
}

/// Writes the pods of `alive` that hold at least the first block, deepest first, by slot where equal.
pub(super) fn search<const W: usize>(
    index: &Sharded<W>,
    guard: &Guard,
    alive: [u64; W],
    hashes: &[SequenceHash],
    levels: &mut Levels<W>,
    out: &mut Vec<Match>,
) {
    out.clear();
    levels.now.clear();
    let (Some(&first), Ok(most)) = (hashes.first(), u32::try_from(hashes.len())) else { return };
    let search = Search { index, guard, hashes };
    index.prefetch(first);
    search.prefetch(&Group { least: 1, most, pods: alive }, true);
    // Block 0 by itself: in most queries most pods have nothing, and one probe is rid of them.
    let held = index.get(guard, first);
    let pods: [u64; W] = std::array::from_fn(|word| alive[word] & held[word]);
    if pods == [0; W] {
        return;
    }
    levels.now.push(Group { least: 1, most, pods });
    let mut open = most > 1;
    while open {
        open = false;
        levels.next.clear();
        let both_next = levels.now.len() <= SPECULATE;
        for group in &levels.now {
            if group.least == group.most {
                levels.next.push(*group);
            } else {
                open |= search.split(group, &mut levels.next, both_next);
            }
        }
        std::mem::swap(&mut levels.now, &mut levels.next);
    }
    levels.now.iter().for_each(|group| write(group, out));
}

fn write<const W: usize>(group: &Group<W>, out: &mut Vec<Match>) {
    for (word, &pods) in group.pods.iter().enumerate() {
        let mut rest = pods;
        while rest != 0 {
            out.push(Match { slot: (word as u32 * 64 + rest.trailing_zeros()) as u16, depth: group.least });
            rest &= rest - 1;
        }
    }
}
