//! One pod's blocks in all tiers, and the change of the planes that an event makes.

use super::tier::Tier;
use super::{EngineHash, Exact};
use crate::events::Medium;
use crate::hash::SequenceHash;
use crate::index::PrefixIndex;
use crate::pods::PodRef;

/// Slower tiers that a pod may have: CPU memory, disk, a store, and some to come. Of more, the events are passed over.
const MAX_MEDIA: usize = 8;

/// What is known of one slot's pod.
#[derive(Default)]
pub(super) struct Ledger {
    /// The pod's number; 0 while nobody's events are followed.
    pub(super) pod: u64,
    pub(super) gpu: Tier,
    /// All slower tiers; names are made different by the medium's number.
    pub(super) lower: Tier,
    media: Vec<u64>,
    /// When events were lost last, in ms.
    doubted: u64,
    scratch: Vec<SequenceHash>,
}

fn named(hash: EngineHash, medium: u64) -> EngineHash {
    EngineHash(hash.0 ^ medium)
}

/// How far ahead a batch starts its cache misses: at 10 to 20 ns a block, a DRAM latency. A bucket is found first, and
/// then what is in it.
const LOOKAHEAD: usize = 8;

fn begin_misses(tier: &Tier, hash: impl Fn(usize) -> Option<EngineHash>) {
    (0..2 * LOOKAHEAD).map_while(&hash).for_each(|hash| tier.prefetch_bucket(hash));
    (0..LOOKAHEAD).map_while(&hash).for_each(|hash| tier.prefetch(hash));
}

#[inline]
fn miss_ahead(tier: &Tier, at: usize, hash: impl Fn(usize) -> Option<EngineHash>) {
    if let Some(hash) = hash(at + 2 * LOOKAHEAD) {
        tier.prefetch_bucket(hash);
    }
    if let Some(hash) = hash(at + LOOKAHEAD) {
        tier.prefetch(hash);
    }
}

impl Ledger {
    pub(super) fn bytes(&self) -> usize {
        self.gpu.bytes() + self.lower.bytes()
    }

    pub(super) fn block(&self, hash: EngineHash) -> Option<SequenceHash> {
        let lower = || self.media.iter().find_map(|&medium| self.lower.get(named(hash, medium)));
        self.gpu.get(hash).or_else(lower)
    }

    pub(super) fn store(
        &mut self,
        plane: &PrefixIndex,
        pod: PodRef,
        medium: Medium,
        parent: Option<SequenceHash>,
        blocks: &[(EngineHash, SequenceHash)],
    ) {
        let mut parent = parent;
        let (tier, mask) = match medium {
            Medium::Gpu => (&mut self.gpu, 0),
            Medium::Lower(medium) => {
                if !self.media.contains(&medium) {
                    if self.media.len() == MAX_MEDIA {
                        return;
                    }
                    self.media.push(medium);
                }
                // A tier may hold the end of a prompt only, whose beginning is still on the GPU.
                parent = None;
                (&mut self.lower, medium)
            }
        };
        let scratch = &mut self.scratch;
        scratch.clear();
        let name = |at: usize| blocks.get(at).map(|&(engine, _)| named(engine, mask));
        begin_misses(tier, name);
        for (at, &(engine, block)) in blocks.iter().enumerate() {
            miss_ahead(tier, at, name);
            if tier.add(named(engine, mask), block) {
                scratch.push(block);
            } else {
                // The plane has it; what follows has it as parent.
                plane.store(pod, parent, scratch);
                scratch.clear();
                parent = Some(block);
            }
        }
        plane.store(pod, parent, scratch);
    }

    pub(super) fn take(&mut self, medium: Medium, hashes: &[EngineHash], gone: &mut Vec<SequenceHash>) {
        let (tier, mask) = match medium {
            Medium::Gpu => (&mut self.gpu, 0),
            Medium::Lower(medium) => (&mut self.lower, medium),
        };
        let name = |at: usize| hashes.get(at).map(|&hash| named(hash, mask));
        begin_misses(tier, name);
        for (at, &hash) in hashes.iter().enumerate() {
            miss_ahead(tier, at, name);
            gone.extend(tier.remove(named(hash, mask)));
        }
    }

    pub(super) fn doubt(&mut self, now: u64) {
        self.doubted = now;
        self.gpu.doubt();
        self.lower.doubt();
    }

    pub(super) fn expire(&mut self, planes: &Exact, pod: PodRef, limit: Option<u64>, capacity: usize) {
        let due = limit.is_some_and(|limit| self.doubted <= limit);
        let scratch = &mut self.scratch;
        for (tier, plane, most) in
            [(&mut self.gpu, &planes.index, capacity), (&mut self.lower, &planes.lower, 0)]
        {
            scratch.clear();
            if due {
                tier.drain_doubtful(scratch);
            } else if most > 0 {
                tier.keep(most, scratch);
            }
            plane.remove(pod, scratch);
        }
    }
}
