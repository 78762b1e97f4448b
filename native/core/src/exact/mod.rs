//! What the engines themselves say they hold, in a plane of its own beside what the router predicts.
//!
//! A pod is *exact* once its events are followed from a known state on, else *predicted*. Engines name blocks by hashes
//! of their own, one event per physical copy; here they are counted per pod and translated, and the plane has a block
//! from its first copy to its last. (Two names of an engine for what is one block to the router would count as two
//! blocks, the first of which to go takes it out of the plane; names of other models, adapters or salts are other blocks
//! to both.)
//!
//! # Memory
//!
//! Exact state grows with the fleet: measured on this structure, 8 to 21 bytes per pod and block in the plane
//! (conversations that pods share to those that each has for itself) and 18 in the map of engine hashes, so 1,024
//! pods of 100,000 blocks take 2.6 to 4 GB (docs/design/index.md). There is a budget; over it whole pods become
//! predicted, the one that was of least use for its bytes first. (Dropping single blocks would leave the engine's later
//! events without the parents that place them.) Such a pod is exact again when its engine starts anew or clears its cache.

mod engine_map;

pub use engine_map::EngineMap;

use crate::hash::SequenceHash;
use crate::index::PrefixIndex;
use crate::pods::PodRef;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// An engine's own name for a block, as 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct EngineHash(pub u64);

/// Bytes of a map without blocks, more or less.
const EMPTY_MAP: usize = 1024;

/// What is known of one slot's pod.
#[derive(Default)]
struct Ledger {
    /// The pod's number; 0 while the slot's pod is predicted.
    pod: u64,
    blocks: EngineMap,
    scratch: Vec<SequenceHash>,
}

#[derive(Default)]
#[repr(align(64))]
struct Place {
    ledger: Mutex<Ledger>,
    /// The exact pod's number, readable without the lock; 0: predicted.
    exact: AtomicU64,
    bytes: AtomicUsize,
    /// Blocks that bookings found cached on the pod, halved from time to time.
    used: AtomicU64,
}

/// The exact plane, and which pods are in it.
pub struct Exact {
    /// Blocks by what the router calls them.
    pub index: PrefixIndex,
    places: Box<[Place]>,
    pods: AtomicUsize,
    demoted: AtomicU64,
}

impl Exact {
    /// A plane without pods.
    pub fn new(index: PrefixIndex) -> Self {
        let places = (0..index.width().pods()).map(|_| Place::default()).collect();
        Self { index, places, pods: AtomicUsize::new(0), demoted: AtomicU64::new(0) }
    }

    /// Whether the pod's own events say what it holds.
    #[inline]
    pub fn is_exact(&self, pod: PodRef) -> bool {
        let place = self.places.get(pod.slot()).filter(|_| pod.raw() != 0);
        place.is_some_and(|place| place.exact.load(Ordering::Acquire) == pod.raw())
    }

    /// Pods that are exact.
    #[inline]
    pub fn pods(&self) -> usize {
        self.pods.load(Ordering::Acquire)
    }

    /// Pods that became predicted because of the budget, so far.
    pub fn demoted(&self) -> u64 {
        self.demoted.load(Ordering::Relaxed)
    }

    /// The pod holds nothing, and from now on what its events say. False if the pod is gone.
    pub fn begin(&self, pod: PodRef) -> bool {
        let Some(place) = self.places.get(pod.slot()) else { return false };
        let mut ledger = place.ledger.lock();
        let again = ledger.pod == pod.raw();
        self.end(place, &mut ledger);
        if !self.index.accepts(pod) {
            return false;
        }
        // A slot that was another pod's is swept.
        if again {
            self.index.clear(pod);
        }
        ledger.pod = pod.raw();
        place.exact.store(pod.raw(), Ordering::Release);
        place.used.store(0, Ordering::Relaxed);
        self.pods.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// The place of an exact pod, its ledger locked.
    fn exactly(&self, pod: PodRef) -> Option<(&Place, MutexGuard<'_, Ledger>)> {
        let place = self.places.get(pod.slot())?;
        let ledger = place.ledger.lock();
        // A predicted pod's ledger has the number 0, which is no pod.
        (ledger.pod == pod.raw() && ledger.pod != 0).then_some((place, ledger))
    }

    /// Changes an exact pod's ledger.
    fn change(&self, pod: PodRef, change: impl FnOnce(&mut Ledger)) {
        if let Some((place, mut ledger)) = self.exactly(pod) {
            change(&mut ledger);
            place.bytes.store(ledger.blocks.bytes(), Ordering::Relaxed);
        }
    }

    /// What the router calls a block of the pod: the parent that an event names.
    pub fn block(&self, pod: PodRef, hash: EngineHash) -> Option<SequenceHash> {
        self.exactly(pod)?.1.blocks.get(hash)
    }

    /// The pod has one more copy of each of these blocks, which follow the block `parent`. Without effect on a pod that
    /// is not exact.
    pub fn store(&self, pod: PodRef, parent: Option<SequenceHash>, blocks: &[(EngineHash, SequenceHash)]) {
        self.change(pod, |ledger| {
            ledger.scratch.clear();
            let mut parent = parent;
            for &(engine, block) in blocks {
                if ledger.blocks.add(engine, block) {
                    ledger.scratch.push(block);
                } else {
                    // The plane has it; what follows has it as parent.
                    self.index.store(pod, parent, &ledger.scratch);
                    ledger.scratch.clear();
                    parent = Some(block);
                }
            }
            self.index.store(pod, parent, &ledger.scratch);
        });
    }

    /// The pod has one copy less of each of these blocks; ones it never had are passed over.
    pub fn remove(&self, pod: PodRef, blocks: &[EngineHash]) {
        self.change(pod, |ledger| {
            ledger.scratch.clear();
            let Ledger { blocks: map, scratch, .. } = ledger;
            scratch.extend(blocks.iter().filter_map(|&hash| map.remove(hash)));
            self.index.remove(pod, scratch);
        });
    }

    /// The pod holds nothing any more; it stays exact.
    pub fn clear(&self, pod: PodRef) {
        self.change(pod, |ledger| {
            ledger.blocks = EngineMap::default();
            self.index.clear(pod);
        });
    }

    /// From now on the pod's events say nothing: it becomes predicted, and its blocks are forgotten.
    pub fn demote(&self, pod: PodRef) {
        if let Some((place, mut ledger)) = self.exactly(pod) {
            self.end(place, &mut ledger);
            self.index.clear(pod);
        }
    }

    /// The pod was removed: its map's memory is given back. The plane sweeps by itself.
    pub fn forget(&self, pod: PodRef) {
        if let Some((place, mut ledger)) = self.exactly(pod) {
            self.end(place, &mut ledger);
        }
    }

    fn end(&self, place: &Place, ledger: &mut Ledger) {
        if ledger.pod != 0 {
            *ledger = Ledger::default();
            place.exact.store(0, Ordering::Release);
            place.bytes.store(0, Ordering::Relaxed);
            self.pods.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// A booking found that many blocks on the pod.
    #[inline]
    pub fn used(&self, pod: PodRef, blocks: u32) {
        if self.is_exact(pod) {
            self.places[pod.slot()].used.fetch_add(blocks.into(), Ordering::Relaxed);
        }
    }

    /// Lets earlier uses count half as much as later ones.
    pub fn age(&self) {
        for place in &self.places {
            let used = place.used.load(Ordering::Relaxed);
            place.used.fetch_sub(used / 2, Ordering::Relaxed);
        }
    }

    /// Bytes of the plane and of all maps.
    pub fn bytes(&self) -> usize {
        let maps: usize = self.places.iter().map(|place| place.bytes.load(Ordering::Relaxed)).sum();
        self.index.bytes() + maps
    }

    /// Demotes pods until no more than `budget` bytes are in use: those first whose blocks were of least use for the
    /// bytes they take.
    pub fn fit(&self, budget: usize) {
        while self.bytes() > budget {
            // One without blocks takes no memory.
            let exact = |place: &&Place| {
                place.exact.load(Ordering::Acquire) != 0 && place.bytes.load(Ordering::Relaxed) > EMPTY_MAP
            };
            let use_of = |place: &&Place| {
                place.used.load(Ordering::Relaxed) as f64 / place.bytes.load(Ordering::Relaxed) as f64
            };
            let least = self.places.iter().filter(exact).min_by(|a, b| use_of(a).total_cmp(&use_of(b)));
            let Some(place) = least else { return };
            self.demote(PodRef::from_raw(place.exact.load(Ordering::Acquire)));
            self.demoted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
