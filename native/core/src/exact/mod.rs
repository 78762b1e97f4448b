//! What the engines themselves say they hold, in planes of its own beside what the router predicts.
//!
//! A pod is *exact* once its events are followed from a known state on; *stale* while they are followed but some were
//! lost, so that it may hold less than is known here; else it is *predicted* alone. Engines name blocks by hashes of
//! their own, one event per physical copy; here they are counted per pod and tier and translated, and the plane has a
//! block from its first copy to its last. (Two names of an engine for what is one block to the router would count as
//! two blocks, the first of which to go takes it out of the plane; names of other models, adapters or salts are other
//! blocks to both.)
//!
//! What a stale pod held before the loss is doubtful. It goes with the events that remove it, and the rest after a
//! while, as a prediction does. docs/design/cache-state.md draws the modes.
//!
//! # Memory
//!
//! Exact state grows with the fleet: measured on this structure, 8 to 21 bytes per pod and block in the plane
//! (conversations that pods share to those that each has for itself) and 18 in the map of engine hashes, so 1,024
//! pods of 100,000 blocks take 2.6 to 4 GB (docs/design/index.md). There is a budget; over it whole pods become
//! predicted, the one that was of least use for its bytes first. (Dropping single blocks would leave the engine's later
//! events without the parents that place them.) Such a pod is exact again when its engine starts anew or clears its cache.

mod engine_map;
mod ledger;
mod tier;

pub use engine_map::EngineMap;

use crate::events::Medium;
use crate::hash::SequenceHash;
use crate::index::PrefixIndex;
use crate::pods::PodRef;
use ledger::Ledger;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// An engine's own name for a block, as 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct EngineHash(pub u64);

/// Bytes of a map without blocks, more or less.
const EMPTY_MAP: usize = 1024;

/// How a pod's cache is known; the numbers are `CACHE_MODE`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// From what was sent there.
    Predicted = 0,
    /// From its events, of which some are missing, and from what was sent there.
    Stale = 1,
    /// From its events.
    Exact = 2,
}

#[derive(Default)]
#[repr(align(64))]
struct Place {
    ledger: Mutex<Ledger>,
    /// The number of the pod whose events are followed, readable without the lock; 0: none is.
    follows: AtomicU64,
    /// The same while it is exact.
    exact: AtomicU64,
    bytes: AtomicUsize,
    blocks: AtomicUsize,
    lower_blocks: AtomicUsize,
    /// Blocks that bookings found cached on the pod, halved from time to time.
    used: AtomicU64,
}

/// The planes of reported state, and which pods are in them.
pub struct Exact {
    /// Blocks on GPUs, by what the router calls them.
    pub index: PrefixIndex,
    /// Blocks in slower tiers.
    pub lower: PrefixIndex,
    places: Box<[Place]>,
    pods: AtomicUsize,
    /// A pod told of a slower tier.
    tiered: AtomicBool,
    demoted: AtomicU64,
}

impl Exact {
    /// Planes without pods.
    pub fn new(index: PrefixIndex, lower: PrefixIndex) -> Self {
        let places = (0..index.width().pods()).map(|_| Place::default()).collect();
        let (pods, tiered) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { index, lower, places, pods, tiered, demoted: AtomicU64::new(0) }
    }

    fn place(&self, pod: PodRef) -> Option<&Place> {
        self.places.get(pod.slot()).filter(|_| pod.raw() != 0)
    }

    /// Whether the pod's own events say all of what it holds.
    #[inline]
    pub fn is_exact(&self, pod: PodRef) -> bool {
        self.place(pod).is_some_and(|place| place.exact.load(Ordering::Acquire) == pod.raw())
    }

    /// Whether the pod's events are followed, exact or not.
    #[inline]
    pub fn follows(&self, pod: PodRef) -> bool {
        self.place(pod).is_some_and(|place| place.follows.load(Ordering::Acquire) == pod.raw())
    }

    /// How the pod's cache is known.
    pub fn mode(&self, pod: PodRef) -> Mode {
        match (self.is_exact(pod), self.follows(pod)) {
            (true, _) => Mode::Exact,
            (false, true) => Mode::Stale,
            (false, false) => Mode::Predicted,
        }
    }

    /// Blocks on the GPU and in slower tiers, by the pod's events.
    pub fn blocks(&self, pod: PodRef) -> (usize, usize) {
        let of = |place: &Place| {
            (place.blocks.load(Ordering::Relaxed), place.lower_blocks.load(Ordering::Relaxed))
        };
        self.place(pod).filter(|_| self.follows(pod)).map_or((0, 0), of)
    }

    /// Pods whose events are followed.
    #[inline]
    pub fn pods(&self) -> usize {
        self.pods.load(Ordering::Acquire)
    }

    /// Whether any pod ever told of a tier below the GPU.
    #[inline]
    pub fn has_lower(&self) -> bool {
        self.tiered.load(Ordering::Acquire)
    }

    /// Pods that became predicted because of the budget, so far.
    pub fn demoted(&self) -> u64 {
        self.demoted.load(Ordering::Relaxed)
    }

    /// The pod holds nothing, and from now on what its events say. False if the pod is gone.
    pub fn begin(&self, pod: PodRef) -> bool {
        self.start(pod, true)
    }

    /// The pod holds what its events will say, and nobody knows what besides. False if the pod is gone.
    pub fn follow(&self, pod: PodRef) -> bool {
        self.start(pod, false)
    }

    fn start(&self, pod: PodRef, exact: bool) -> bool {
        let Some(place) = self.place(pod) else { return false };
        let mut ledger = place.ledger.lock();
        let again = ledger.pod == pod.raw();
        self.end(place, &mut ledger);
        if !self.index.accepts(pod) {
            return false;
        }
        // A slot that was another pod's is swept.
        if again {
            self.clear_planes(pod);
        }
        ledger.pod = pod.raw();
        place.follows.store(pod.raw(), Ordering::Release);
        place.exact.store(if exact { pod.raw() } else { 0 }, Ordering::Release);
        place.used.store(0, Ordering::Relaxed);
        self.pods.fetch_add(1, Ordering::AcqRel);
        true
    }

    fn clear_planes(&self, pod: PodRef) {
        self.index.clear(pod);
        if self.has_lower() {
            self.lower.clear(pod);
        }
    }

    /// Some of the pod's events were lost, at `now` (ms): what it holds is doubtful.
    pub fn doubt(&self, pod: PodRef, now: u64) {
        if let Some((place, mut ledger)) = self.locked(pod) {
            place.exact.store(0, Ordering::Release);
            ledger.doubt(now);
        }
    }

    /// The place of a pod whose events are followed, its ledger locked.
    fn locked(&self, pod: PodRef) -> Option<(&Place, MutexGuard<'_, Ledger>)> {
        let place = self.places.get(pod.slot())?;
        let ledger = place.ledger.lock();
        // A ledger that follows nobody has the number 0, which is no pod.
        (ledger.pod == pod.raw() && ledger.pod != 0).then_some((place, ledger))
    }

    /// Changes the ledger of a pod that is followed.
    fn change(&self, pod: PodRef, change: impl FnOnce(&mut Ledger)) {
        if let Some((place, mut ledger)) = self.locked(pod) {
            change(&mut ledger);
            place.bytes.store(ledger.bytes(), Ordering::Relaxed);
            place.blocks.store(ledger.gpu.len(), Ordering::Relaxed);
            place.lower_blocks.store(ledger.lower.len(), Ordering::Relaxed);
        }
    }

    /// What the router calls a block of the pod, in whichever tier: the parent that an event names.
    pub fn block(&self, pod: PodRef, hash: EngineHash) -> Option<SequenceHash> {
        self.locked(pod)?.1.block(hash)
    }

    /// The pod has one more copy of each of these blocks, which follow the block `parent`. Without effect on a pod that
    /// is not followed.
    pub fn store(
        &self,
        pod: PodRef,
        medium: Medium,
        parent: Option<SequenceHash>,
        blocks: &[(EngineHash, SequenceHash)],
    ) {
        if let Medium::Lower(_) = medium {
            self.tiered.store(true, Ordering::Release);
        }
        self.change(pod, |ledger| {
            let plane = if medium == Medium::Gpu { &self.index } else { &self.lower };
            ledger.store(plane, pod, medium, parent, blocks);
        });
    }

    /// The pod has one copy less of each of these blocks; ones it never had are passed over. `gone` gets the blocks
    /// whose last copy in that tier this was.
    pub fn remove(&self, pod: PodRef, medium: Medium, hashes: &[EngineHash], gone: &mut Vec<SequenceHash>) {
        gone.clear();
        self.change(pod, |ledger| {
            ledger.take(medium, hashes, gone);
            let plane = if medium == Medium::Gpu { &self.index } else { &self.lower };
            plane.remove(pod, gone);
        });
    }

    /// From now on the pod's events say nothing: it becomes predicted, and its blocks are forgotten.
    pub fn demote(&self, pod: PodRef) {
        if let Some((place, mut ledger)) = self.locked(pod) {
            self.end(place, &mut ledger);
            self.clear_planes(pod);
        }
    }

    /// The pod was removed: its map's memory is given back. The planes sweep by themselves.
    pub fn forget(&self, pod: PodRef) {
        if let Some((place, mut ledger)) = self.locked(pod) {
            self.end(place, &mut ledger);
        }
    }

    fn end(&self, place: &Place, ledger: &mut Ledger) {
        if ledger.pod != 0 {
            *ledger = Ledger::default();
            place.exact.store(0, Ordering::Release);
            place.follows.store(0, Ordering::Release);
            for count in [&place.bytes, &place.blocks, &place.lower_blocks] {
                count.store(0, Ordering::Relaxed);
            }
            self.pods.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Drops what has been doubtful since `limit` (ms) or longer, and what is too much of it: no pod holds more than
    /// `capacity` says, a block count by slot (0: unknown).
    pub fn expire(&self, limit: Option<u64>, capacity: impl Fn(usize) -> usize) {
        for (slot, place) in self.places.iter().enumerate() {
            let pod = PodRef::from_raw(place.follows.load(Ordering::Acquire));
            if pod.raw() == 0 || self.is_exact(pod) {
                continue;
            }
            self.change(pod, |ledger| ledger.expire(self, pod, limit, capacity(slot)));
        }
    }

    /// A booking found that many blocks on the pod.
    #[inline]
    pub fn used(&self, pod: PodRef, blocks: u32) {
        if self.follows(pod) {
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

    /// Bytes of the planes and of all maps.
    pub fn bytes(&self) -> usize {
        let maps: usize = self.places.iter().map(|place| place.bytes.load(Ordering::Relaxed)).sum();
        self.index.bytes() + self.lower.bytes() + maps
    }

    /// Demotes pods until no more than `budget` bytes are in use: those first whose blocks were of least use for the
    /// bytes they take.
    pub fn fit(&self, budget: usize) {
        while self.bytes() > budget {
            // One without blocks takes no memory.
            let followed = |place: &&Place| {
                place.follows.load(Ordering::Acquire) != 0 && place.bytes.load(Ordering::Relaxed) > EMPTY_MAP
            };
            let use_of = |place: &&Place| {
                place.used.load(Ordering::Relaxed) as f64 / place.bytes.load(Ordering::Relaxed) as f64
            };
            let least = self.places.iter().filter(followed).min_by(|a, b| use_of(a).total_cmp(&use_of(b)));
            let Some(place) = least else { return };
            self.demote(PodRef::from_raw(place.follows.load(Ordering::Acquire)));
            self.demoted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
