//! Which blocks the router believes a pod to hold, because it sent them there.
//!
//! A ledger per pod remembers them in order of last use, forgets the least recent beyond a bound (the pod's own cache
//! has one too) and those that were not used for a while, and keeps the index in step: what is in the ledger is in the
//! index, and goes from both together. Readers of the index never meet the ledgers' locks.
//!
//! A chain is touched deepest block first, so that a block is always older than the blocks before it, of whichever
//! chain: the oldest is a leaf, and taking it out leaves prefixes, which is what the index's search is exact on.

pub(crate) mod lru;

use crate::clock::Clock;
use crate::hash::SequenceHash;
use crate::index::PrefixIndex;
use crate::pods::PodRef;
use lru::Lru;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blocks that a sweep takes out under one lock: about 50 µs, what a booking on that pod may have to wait.
const CHUNK: usize = 512;

/// One pod's blocks.
#[derive(Default)]
struct Ledger {
    /// The pod that the blocks are of; the slot may have had others.
    generation: u64,
    blocks: Lru<()>,
    /// Blocks new to the ledger, or fallen out of it; kept for its memory.
    scratch: Vec<SequenceHash>,
}

/// A ledger and its length, which others may read without its lock.
#[derive(Default)]
#[repr(align(64))]
struct Place {
    ledger: Mutex<Ledger>,
    len: AtomicUsize,
}

/// The ledgers of all slots.
pub struct Predicted {
    index: PrefixIndex,
    clock: Arc<Clock>,
    places: Box<[Place]>,
    capacity: usize,
    ttl_ms: u64,
}

impl Predicted {
    /// Ledgers of at most `capacity` blocks for a pod whose own capacity nobody knows. Each block holds `ttl_ms` from its last use.
    pub fn new(index: PrefixIndex, clock: Arc<Clock>, capacity: usize, ttl_ms: u64) -> Self {
        let places = (0..index.width().pods()).map(|_| Place::default()).collect();
        Self { index, clock, places, capacity, ttl_ms }
    }

    /// Blocks of the slot's pod, expired ones included until they are swept.
    pub fn blocks(&self, pod: PodRef) -> usize {
        self.places.get(pod.slot()).map_or(0, |place| place.len.load(Ordering::Relaxed))
    }

    /// The pod is about to hold these blocks, a chain from its root. Blocks beyond its capacity are left out from the
    /// chain's end; `room`: blocks of its own cache, 0 where nobody knows. Without effect if the pod is gone.
    pub fn learn(&self, pod: PodRef, chain: &[SequenceHash], room: usize) {
        let Some(place) = self.places.get(pod.slot()) else { return };
        let capacity = if room == 0 { self.capacity } else { room };
        let chain = &chain[..chain.len().min(capacity)];
        let now = self.clock.millis();
        let mut ledger = place.ledger.lock();
        if !self.is_current(&mut ledger, pod) {
            return;
        }
        let Ledger { blocks, scratch, .. } = &mut *ledger;
        scratch.clear();
        blocks.prepare(chain.iter().map(|hash| hash.0));
        for &hash in chain.iter().rev() {
            if blocks.put(hash.0, (), now) {
                scratch.push(hash);
            }
        }
        // Stored root first: a query meanwhile sees a shorter prefix, never a hole.
        scratch.reverse();
        let parent = chain.len().checked_sub(scratch.len() + 1).map(|at| chain[at]);
        self.index.store(pod, parent, scratch);
        scratch.clear();
        // Beyond the bound, all that must go; of expired ones about as many as came, so that no booking pays for many.
        let excess = blocks.len().saturating_sub(capacity);
        take_oldest(blocks, excess, u64::MAX, scratch);
        if let Some(limit) = self.expired_at(now) {
            take_oldest(blocks, chain.len(), limit, scratch);
        }
        self.index.remove(pod, scratch);
        place.len.store(blocks.len(), Ordering::Relaxed);
    }

    /// The pod's own events say that it dropped these blocks.
    pub fn drop_blocks(&self, pod: PodRef, hashes: &[SequenceHash]) {
        let Some(place) = self.places.get(pod.slot()) else { return };
        let mut ledger = place.ledger.lock();
        if ledger.generation != pod.generation() || ledger.blocks.len() == 0 {
            return;
        }
        let Ledger { blocks, scratch, .. } = &mut *ledger;
        scratch.clear();
        scratch.extend(hashes.iter().filter(|hash| blocks.take(hash.0)));
        self.index.remove(pod, scratch);
        place.len.store(blocks.len(), Ordering::Relaxed);
    }

    /// Drops what was not used for the TTL. Whoever calls this every so often is sure that nothing is counted for
    /// longer than the TTL plus that.
    pub fn expire(&self) {
        if let Some(limit) = self.expired_at(self.clock.millis()) {
            self.places.iter().enumerate().for_each(|(slot, place)| self.drop_until(slot, place, limit));
        }
    }

    /// Forgets everything of all pods.
    pub fn clear(&self) {
        self.places.iter().enumerate().for_each(|(slot, place)| self.drop_until(slot, place, u64::MAX));
    }

    /// Bytes of the ledgers and of their plane of the index.
    pub fn bytes(&self) -> usize {
        let ledgers: usize = self.places.iter().map(|place| place.ledger.lock().blocks.bytes()).sum();
        ledgers + self.index.bytes()
    }

    /// Drops that part (0 to 1) of each pod's blocks, the least recently used ones. Answers how many.
    pub fn shed(&self, part: f64) -> usize {
        let shed = |(slot, place): (usize, &Place)| {
            let mut left = (place.len.load(Ordering::Relaxed) as f64 * part).ceil() as usize;
            let mut dropped = 0;
            while left > 0 {
                let took = self.drop_some(slot, place, u64::MAX, left.min(CHUNK));
                dropped += took;
                left = if took == 0 { 0 } else { left - took };
            }
            place.ledger.lock().blocks.shrink();
            dropped
        };
        self.places.iter().enumerate().map(shed).sum()
    }

    /// Forgets everything of one pod, which stays in use: its engine has lost its cache.
    pub fn clear_pod(&self, pod: PodRef) {
        if let Some(place) = self.places.get(pod.slot())
            && place.ledger.lock().generation == pod.generation()
        {
            self.drop_until(pod.slot(), place, u64::MAX);
        }
    }

    /// The pod was removed: its ledger's memory is given back. The index sweeps by itself.
    pub fn forget(&self, pod: PodRef) {
        let Some(place) = self.places.get(pod.slot()) else { return };
        let mut ledger = place.ledger.lock();
        if ledger.generation == pod.generation() {
            *ledger = Ledger::default();
            place.len.store(0, Ordering::Relaxed);
        }
    }

    /// Last uses at or before this have expired; `None` before the first TTL has passed.
    fn expired_at(&self, now: u64) -> Option<u64> {
        now.checked_sub(self.ttl_ms)
    }

    /// Whether the ledger is this pod's, or can be as its own pod is gone; not if this pod is.
    fn is_current(&self, ledger: &mut Ledger, pod: PodRef) -> bool {
        if !self.index.accepts(pod) {
            return false;
        }
        if ledger.generation != pod.generation() {
            *ledger = Ledger { generation: pod.generation(), ..Ledger::default() };
        }
        true
    }

    fn drop_until(&self, slot: usize, place: &Place, limit: u64) {
        while self.drop_some(slot, place, limit, CHUNK) == CHUNK {}
    }

    /// Drops up to `count` of the oldest blocks, last used at or before `limit`, and answers how many.
    fn drop_some(&self, slot: usize, place: &Place, limit: u64, count: usize) -> usize {
        let mut ledger = place.ledger.lock();
        let pod = PodRef::new(slot as u32, ledger.generation);
        let Ledger { blocks, scratch, .. } = &mut *ledger;
        scratch.clear();
        take_oldest(blocks, count, limit, scratch);
        self.index.remove(pod, scratch);
        place.len.store(blocks.len(), Ordering::Relaxed);
        scratch.len()
    }
}

/// Moves up to `count` of the oldest blocks, last used at or before `limit`, to `out`.
fn take_oldest(blocks: &mut Lru<()>, count: usize, limit: u64, out: &mut Vec<SequenceHash>) {
    out.extend((0..count).map_while(|_| blocks.pop_oldest(limit)).map(SequenceHash));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Matches, Slots, Width, retire};
    use proptest::prelude::*;

    struct Fleet {
        slots: Arc<Slots>,
        index: PrefixIndex,
        clock: Arc<Clock>,
        predicted: Predicted,
    }

    fn fleet(capacity: usize, ttl_ms: u64) -> Fleet {
        let (slots, clock) = (Arc::new(Slots::default()), Arc::new(Clock::manual()));
        let index = PrefixIndex::new(Width::Pods64, slots.clone());
        let predicted = Predicted::new(index.clone(), clock.clone(), capacity, ttl_ms);
        Fleet { slots, index, clock, predicted }
    }

    impl Fleet {
        fn pod(&self, slot: u32, generation: u64) -> PodRef {
            let pod = PodRef::new(slot, generation);
            self.slots.open(pod);
            self.slots.show(pod);
            pod
        }

        fn depth(&self, chain: &[SequenceHash]) -> u32 {
            let mut out = Matches::default();
            self.index.query(chain, &mut out);
            out.as_slice().first().map_or(0, |found| found.depth)
        }
    }

    /// Chain `c`: its first `shared` blocks are those of every chain.
    fn chain(c: u64, shared: usize, blocks: usize) -> Vec<SequenceHash> {
        let at =
            |c: u64, i: usize| SequenceHash(((c << 32) | (i as u64 + 1)).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        (0..blocks).map(|i| if i < shared { at(0, i) } else { at(c + 1, i) }).collect()
    }

    proptest! {
        /// Whatever is learnt in whatever order: the bound holds, index and ledger agree, each chain's blocks in the
        /// index are a prefix, and what was learnt last is there as far as the bound allows.
        #[test]
        fn evicts_leaves_first_and_keeps_the_index_in_step(
            capacity in 1usize..60,
            steps in prop::collection::vec((0u64..6, 0usize..24, 0u32..40), 1..60),
        ) {
            let fleet = fleet(capacity, 100);
            let pod = fleet.pod(0, 1);
            for (c, blocks, wait) in steps {
                fleet.clock.set(fleet.clock.now() + f64::from(wait));
                let learnt = chain(c, 8, blocks);
                fleet.predicted.learn(pod, &learnt, 0);
                prop_assert!(fleet.predicted.blocks(pod) <= capacity);
                prop_assert_eq!(fleet.predicted.blocks(pod), fleet.index.entries());
                prop_assert_eq!(fleet.depth(&learnt) as usize, blocks.min(capacity));
                let mut held: std::collections::HashSet<SequenceHash> = Default::default();
                for c in 0..6 {
                    let chain = chain(c, 8, 24);
                    let depth = fleet.depth(&chain) as usize;
                    held.extend(&chain[..depth]);
                }
                // Blocks beyond a hole would be in the index, but in no chain's prefix.
                prop_assert_eq!(held.len(), fleet.index.entries());
            }
            fleet.clock.set(fleet.clock.now() + 100.0);
            fleet.predicted.expire();
            prop_assert_eq!((fleet.predicted.blocks(pod), fleet.index.entries()), (0, 0));
        }
    }

    #[test]
    fn a_block_expires_a_ttl_after_its_last_use() {
        let fleet = fleet(1000, 50);
        let pod = fleet.pod(0, 1);
        let blocks = chain(0, 0, 20);
        fleet.predicted.learn(pod, &blocks, 0);
        fleet.clock.set(30.0);
        fleet.predicted.learn(pod, &blocks[..10], 0);
        for (now, depth) in [(49.0, 20), (50.0, 10), (79.0, 10), (80.0, 0)] {
            fleet.clock.set(now);
            fleet.predicted.expire();
            assert_eq!(fleet.depth(&blocks), depth, "at {now} ms");
        }
    }

    #[test]
    fn large_ledgers_expire_and_clear_in_more_than_one_chunk() {
        let fleet = fleet(usize::MAX, 50);
        let (a, b) = (fleet.pod(0, 1), fleet.pod(1, 1));
        fleet.predicted.learn(a, &chain(0, 0, 3 * CHUNK), 0);
        fleet.clock.set(60.0);
        fleet.predicted.learn(b, &chain(1, 0, 2 * CHUNK), 0);
        fleet.predicted.expire();
        assert_eq!((fleet.predicted.blocks(a), fleet.predicted.blocks(b)), (0, 2 * CHUNK));
        fleet.predicted.clear();
        assert_eq!((fleet.predicted.blocks(b), fleet.index.entries()), (0, 0));
    }

    #[test]
    fn what_is_shed_is_what_was_used_least_recently() {
        let fleet = fleet(usize::MAX, 1_000_000);
        let (a, b) = (fleet.pod(0, 1), fleet.pod(1, 1));
        for c in 0..50 {
            fleet.predicted.learn(a, &chain(c, 0, 100), 0);
            fleet.predicted.learn(b, &chain(c + 100, 0, 10), 0);
        }
        let bytes = fleet.predicted.bytes();
        assert_eq!(fleet.predicted.shed(0.6), 3300);
        assert_eq!((fleet.predicted.blocks(a), fleet.predicted.blocks(b)), (2000, 200));
        assert_eq!((fleet.depth(&chain(29, 0, 100)), fleet.depth(&chain(30, 0, 100))), (0, 100));
        assert!(fleet.predicted.bytes() < bytes * 2 / 3, "{} of {bytes}", fleet.predicted.bytes());
    }

    #[test]
    fn a_removed_pods_ledger_is_not_the_next_pods() {
        let fleet = fleet(1000, 50);
        let (old, blocks) = (fleet.pod(0, 1), chain(0, 0, 8));
        fleet.predicted.learn(old, &blocks, 0);
        assert!(retire(&fleet.slots, std::slice::from_ref(&fleet.index), old));
        fleet.predicted.learn(old, &blocks, 0);
        fleet.index.wait_swept();
        let new = fleet.pod(0, 2);
        // Not even where nobody called `forget`: the new pod's blocks must reach the index.
        fleet.predicted.learn(new, &blocks[..4], 0);
        assert_eq!((fleet.predicted.blocks(new), fleet.depth(&blocks)), (4, 4));
        fleet.predicted.forget(old);
        assert_eq!(fleet.predicted.blocks(new), 4);
        fleet.predicted.forget(new);
        assert_eq!(fleet.predicted.blocks(new), 0);
    }

    #[test]
    fn threads_that_learn_on_one_pod_leave_index_and_ledger_in_step() {
        let fleet = fleet(64, 1_000_000);
        let pod = fleet.pod(0, 1);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let fleet = &fleet;
                scope.spawn(move || {
                    for round in 0..500 {
                        fleet.predicted.learn(pod, &chain((round * 3 + thread) % 11, 6, 30), 0);
                    }
                });
            }
        });
        assert_eq!(fleet.predicted.blocks(pod), 64);
        assert_eq!(fleet.index.entries(), 64);
    }
}
