//! The table of slots: pods come, are cordoned, leave, and their slots are used again.
//!
//! A slot gets a new pod only when its last one was removed *and* all indexes are swept of it *and* all workers have
//! let go (`release_pod`) *and* nothing is in flight. The last is why a booking may be given back at any time after
//! its pod was removed: as long as it is not, the slot is still that pod's.

use super::breaker::BreakerOptions;
use super::gate::Phase;
use super::load::{Load, Loads};
use super::pod_ref::PodRef;
use crate::clock::Clock;
use crate::index::{PrefixIndex, Slots, Width, retire};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why a pod was not added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddPodError {
    /// As many pods as the index is wide, those still leaving included.
    #[error(
        "no slot for pod {id}: all {width} are taken (pods that leave keep theirs until their requests have ended)"
    )]
    Full {
        /// The pod.
        id: String,
        /// Slots.
        width: usize,
    },
    /// A pod of that name is there already.
    #[error("pod {0} is there already")]
    Duplicate(String),
}

/// What is known of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodStatus {
    /// Requests in flight.
    pub inflight: u32,
    /// Uncached prompt tokens whose first byte is still to come.
    pub pending_tokens: u64,
    /// Tokens that its requests hold in the KV cache.
    pub active_tokens: u64,
    /// 0 closed, 1 open, 2 half open with its probe free, 3 half open with its probe taken.
    pub breaker: u8,
    /// Where the pod is in its life; [`Phase::Free`] once its slot may be used again.
    pub phase: Phase,
    /// No bit of it is left in any index.
    pub swept: bool,
}

/// The name of a slot's pod, and whether all workers have let go of it.
#[derive(Default)]
pub(super) struct Tenant {
    id: String,
    released: bool,
}

/// All slots of a state.
pub struct PodTable {
    pub(super) loads: Loads,
    pub(super) clock: Arc<Clock>,
    pub(super) breakers: BreakerOptions,
    /// In which a new pod's share of the load grows to its full size.
    pub(super) slow_start_ms: u64,
    /// Held while a latency breaker counts how many are open.
    pub(super) tripping: Mutex<()>,
    /// Highest slot ever used, plus 1.
    pub(super) used: AtomicUsize,
    slots: Arc<Slots>,
    /// Every index over these slots: a slot is free when all are swept.
    indexes: Vec<PrefixIndex>,
    /// Serialises the changes of phase.
    tenants: Mutex<Vec<Tenant>>,
}

impl PodTable {
    /// A table without pods. `indexes` are all that were made over `slots`.
    pub fn new(
        width: Width,
        slots: Arc<Slots>,
        indexes: Vec<PrefixIndex>,
        clock: Arc<Clock>,
        breakers: BreakerOptions,
        slow_start_ms: u64,
    ) -> Self {
        Self {
            loads: (0..width.pods()).map(|_| Default::default()).collect(),
            clock,
            breakers,
            slow_start_ms,
            tripping: Mutex::new(()),
            used: AtomicUsize::new(0),
            slots,
            indexes,
            tenants: Mutex::new((0..width.pods()).map(|_| Tenant::default()).collect()),
        }
    }

    /// Number of slots.
    pub fn width(&self) -> usize {
        self.loads.len()
    }

    pub(super) fn load(&self, pod: PodRef) -> Option<&Load> {
        self.loads.get(pod.slot()).map(|load| &**load)
    }

    fn is_swept(&self, slot: usize) -> bool {
        self.indexes.iter().all(|index| index.is_swept(slot))
    }

    fn is_free(&self, slot: usize, tenant: &Tenant) -> bool {
        let view = self.loads[slot].gate.view();
        match view.phase {
            Phase::Free => true,
            Phase::Leaving => tenant.released && view.inflight == 0 && self.is_swept(slot),
            Phase::Joining | Phase::Ready | Phase::Cordoned => false,
        }
    }

    /// Gives a pod the lowest free slot, in phase joining: events about its cache are taken, requests are not.
    pub fn add(&self, id: &str) -> Result<PodRef, AddPodError> {
        let mut tenants = self.tenants.lock();
        let here = |phase| !matches!(phase, Phase::Free | Phase::Leaving);
        let taken =
            |(slot, tenant): (usize, &Tenant)| tenant.id == id && here(self.loads[slot].gate.view().phase);
        if tenants.iter().enumerate().any(taken) {
            return Err(AddPodError::Duplicate(id.to_owned()));
        }
        let slot = (0..self.width())
            .find(|&slot| self.is_free(slot, &tenants[slot]))
            .ok_or_else(|| AddPodError::Full { id: id.to_owned(), width: self.width() })?;
        tenants[slot] = Tenant { id: id.to_owned(), released: false };
        let load = &self.loads[slot];
        load.breaker.reset();
        load.pending.reset();
        load.active.reset();
        load.first_byte.reset();
        load.engine.reset();
        let pod = PodRef::new(slot as u32, load.gate.hand_on());
        self.slots.open(pod);
        self.used.fetch_max(slot + 1, Ordering::AcqRel);
        Ok(pod)
    }

    /// All workers know the pod: queries see it and requests may be booked. False if it is not joining.
    pub fn activate(&self, pod: PodRef) -> bool {
        let _serial = self.tenants.lock();
        let moved =
            self.load(pod).is_some_and(|load| load.gate.advance(pod, &[Phase::Joining], Phase::Ready));
        if moved {
            self.start(pod);
            self.slots.show(pod);
        }
        moved
    }

    /// Stops or starts new requests; running ones go on. False if the pod is neither ready nor cordoned.
    pub fn cordon(&self, pod: PodRef, cordoned: bool) -> bool {
        let to = if cordoned { Phase::Cordoned } else { Phase::Ready };
        let Some(load) = self.load(pod) else { return false };
        let was_out = load.gate.view().phase == Phase::Cordoned;
        let moved = load.gate.advance(pod, &[Phase::Ready, Phase::Cordoned], to);
        if moved && was_out && !cordoned {
            self.start(pod);
        }
        moved
    }

    fn start(&self, pod: PodRef) {
        if let Some(load) = self.load(pod) {
            load.engine.start(self.clock.millis());
        }
    }

    /// Takes the pod out of every decision at once; its blocks leave in the background and its requests run on. False
    /// if it was gone already.
    pub fn remove(&self, pod: PodRef) -> bool {
        let _serial = self.tenants.lock();
        let here = [Phase::Joining, Phase::Ready, Phase::Cordoned];
        let removed = self.load(pod).is_some_and(|load| load.gate.advance(pod, &here, Phase::Leaving));
        if removed {
            retire(&self.slots, &self.indexes, pod);
        }
        removed
    }

    /// All workers have let go of a removed pod. False if it was not removed.
    pub fn release_pod(&self, pod: PodRef) -> bool {
        let mut tenants = self.tenants.lock();
        let leaving = self.load(pod).map(|load| load.gate.view());
        let leaving =
            leaving.is_some_and(|view| view.generation == pod.generation() && view.phase == Phase::Leaving);
        if leaving {
            tenants[pod.slot()].released = true;
        }
        leaving
    }

    /// Whether the pod is there: joining, ready or cordoned.
    #[inline]
    pub fn is_here(&self, pod: PodRef) -> bool {
        self.slots.is_open(pod)
    }

    /// What is known of the pod; `None` once its slot has another one.
    pub fn status(&self, pod: PodRef) -> Option<PodStatus> {
        let tenants = self.tenants.lock();
        let load = self.load(pod)?;
        let view = load.gate.view();
        if view.generation != pod.generation() {
            return None;
        }
        let free = self.is_free(pod.slot(), &tenants[pod.slot()]);
        Some(PodStatus {
            inflight: view.inflight,
            pending_tokens: load.pending.get(),
            active_tokens: load.active.get(),
            breaker: load.breaker.advice(&self.breakers, self.clock.millis(), view.inflight) as u8,
            phase: if free { Phase::Free } else { view.phase },
            swept: view.phase == Phase::Leaving && self.is_swept(pod.slot()),
        })
    }
}
