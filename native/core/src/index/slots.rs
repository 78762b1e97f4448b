//! Which slots are in use, by which generation, and which of them queries may see.
//!
//! One `Slots` is shared by the pod table and every index over the same pods, so that a pod vanishes from all of them
//! by one atomic operation.

use super::sync::{AtomicU64, Ordering};
use crate::pods::{MAX_SLOTS, PodRef};

const WORDS: usize = MAX_SLOTS / 64;

/// A bitmap over slots.
#[derive(Debug)]
pub(super) struct SlotMask([AtomicU64; WORDS]);

impl SlotMask {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn get(&self, slot: usize) -> bool {
        self.0[slot / 64].load(Ordering::Acquire) >> (slot % 64) & 1 == 1
    }

    pub(super) fn set(&self, slot: usize) {
        self.0[slot / 64].fetch_or(1 << (slot % 64), Ordering::AcqRel);
    }

    /// Clears the bit; on x86-64 and ARM with LSE one instruction, elsewhere a compare-and-swap loop.
    pub(super) fn clear(&self, slot: usize) {
        self.0[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::AcqRel);
    }

    #[inline]
    pub(super) fn words<const W: usize>(&self) -> [u64; W] {
        std::array::from_fn(|word| self.0[word].load(Ordering::Acquire))
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum()
    }
}

/// The slots' lives. `open`: stores of that generation are accepted. `alive`: queries see the slot too.
#[derive(Debug)]
pub struct Slots {
    alive: SlotMask,
    open: SlotMask,
    /// The PodRef that the slot is open for; 0 (no pod) while closed.
    holder: Box<[AtomicU64]>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            alive: SlotMask::new(),
            open: SlotMask::new(),
            holder: (0..MAX_SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Slots {
    /// Gives a swept slot to a pod: its blocks may be stored, but queries do not see it yet.
    pub fn open(&self, pod: PodRef) {
        self.open.set(pod.slot());
        self.holder[pod.slot()].store(pod.raw(), Ordering::Release);
    }

    /// Lets queries see an open slot.
    pub fn show(&self, pod: PodRef) {
        if self.is_open(pod) {
            self.alive.set(pod.slot());
        }
    }

    /// Whether stores for this pod are accepted.
    #[inline]
    pub fn is_open(&self, pod: PodRef) -> bool {
        // The number 0, which no pod has, is what a closed slot's holder is.
        pod.raw() != 0 && self.holder[pod.slot()].load(Ordering::Acquire) == pod.raw()
    }

    /// Whether queries see the pod in that slot.
    pub fn is_alive(&self, slot: usize) -> bool {
        self.alive.get(slot)
    }

    /// Number of slots that queries see.
    pub fn alive_count(&self) -> usize {
        self.alive.count()
    }

    /// Whether the slot belongs to some pod.
    pub(super) fn in_use(&self, slot: usize) -> bool {
        self.holder[slot].load(Ordering::Acquire) != 0
    }

    /// The pod that a slot belongs to.
    pub(super) fn holder(&self, slot: usize) -> Option<PodRef> {
        let raw = self.holder.get(slot)?.load(Ordering::Acquire);
        (raw != 0).then_some(PodRef::from_raw(raw))
    }

    /// Hides the pod from every query that starts after this, and closes its slot for stores. Indexes sweep afterwards
    /// (`retire` in the parent module keeps the order).
    pub(super) fn close(&self, pod: PodRef) {
        self.holder[pod.slot()].store(0, Ordering::Release);
        self.alive.clear(pod.slot());
        self.open.clear(pod.slot());
    }

    pub(super) fn alive_words<const W: usize>(&self) -> [u64; W] {
        self.alive.words()
    }

    pub(super) fn open_words<const W: usize>(&self) -> [u64; W] {
        self.open.words()
    }
}
