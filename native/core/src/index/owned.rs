//! A prefix index that hands out its own slots, for use as a library.

use super::{Matches, PrefixIndex, Slots, Width, retire};
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use parking_lot::Mutex;
use std::sync::Arc;

/// A [`PrefixIndex`] whose pods are plain slot numbers. Calls about a slot that has no pod do nothing.
pub struct OwnedIndex {
    index: PrefixIndex,
    slots: Arc<Slots>,
    /// Pods so far in each slot; the lock serialises adding and removing.
    generations: Mutex<Vec<u64>>,
}

impl OwnedIndex {
    /// An empty index.
    pub fn new(width: Width) -> Self {
        let slots = Arc::new(Slots::default());
        let index = PrefixIndex::new(width, slots.clone());
        Self { index, slots, generations: Mutex::new(vec![0; width.pods()]) }
    }

    /// Room for pods.
    pub fn width(&self) -> Width {
        self.index.width()
    }

    /// A slot for a new pod, or `None` if there are as many pods as there is room for. Where only slots are left
    /// whose last pod is still being swept out, waits for that.
    pub fn add_pod(&self) -> Option<u32> {
        let mut generations = self.generations.lock();
        let free = |swept: bool| {
            (0..self.width().pods())
                .find(|&slot| !self.slots.in_use(slot) && (!swept || self.index.is_swept(slot)))
        };
        let slot = match free(true) {
            Some(slot) => slot,
            None => {
                let slot = free(false)?;
                self.index.wait_swept();
                slot
            }
        };
        generations[slot] += 1;
        let pod = PodRef::new(slot as u32, generations[slot]);
        self.slots.open(pod);
        self.slots.show(pod);
        Some(slot as u32)
    }

    /// Takes the pod out of every query at once, and its blocks out in the background.
    pub fn remove_pod(&self, slot: u32) {
        let _serial = self.generations.lock();
        if let Some(pod) = self.pod(slot) {
            retire(&self.slots, std::slice::from_ref(&self.index), pod);
        }
    }

    fn pod(&self, slot: u32) -> Option<PodRef> {
        self.slots.holder(slot as usize)
    }

    /// Notes that the pod holds these blocks, which follow the block `parent`. See [`PrefixIndex::store`].
    pub fn store(&self, slot: u32, parent: Option<SequenceHash>, hashes: &[SequenceHash]) {
        if let Some(pod) = self.pod(slot) {
            self.index.store(pod, parent, hashes);
        }
    }

    /// Notes that the pod holds these blocks no more.
    pub fn remove(&self, slot: u32, hashes: &[SequenceHash]) {
        if let Some(pod) = self.pod(slot) {
            self.index.remove(pod, hashes);
        }
    }

    /// Notes that the pod holds nothing any more.
    pub fn clear(&self, slot: u32) {
        if let Some(pod) = self.pod(slot) {
            self.index.clear(pod);
        }
    }

    /// Ranks the pods by the leading blocks they hold.
    pub fn query(&self, hashes: &[SequenceHash], out: &mut Matches) {
        self.index.query(hashes, out);
    }

    /// Blocks that some pod holds.
    pub fn entries(&self) -> usize {
        self.index.entries()
    }

    /// Bytes in use, without what waits for its last reader.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Frees memory that was replaced and that no query looks at any more. See [`PrefixIndex::tidy`].
    pub fn tidy(&self) {
        self.index.tidy();
    }

    /// Blocks until no removed pod's blocks are left.
    pub fn wait_swept(&self) {
        self.index.wait_swept();
    }
}
