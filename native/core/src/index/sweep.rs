//! The second phase of a pod's removal: its bits leave the tables in the background.
//!
//! At most one thread per index sweeps, however many pods leave: it takes all that are queued in one pass, and ends
//! when nothing is left, so an index at rest has no thread.

use super::Inner;
use super::slots::SlotMask;
use crate::pods::MAX_SLOTS;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

const WORDS: usize = MAX_SLOTS / 64;

#[derive(Default)]
struct Queue {
    slots: [u64; WORDS],
    running: bool,
}

pub(super) struct Sweeps {
    queue: Mutex<Queue>,
    progress: Condvar,
    /// Slots whose bits may still be in the tables; set before a slot closes, cleared when its sweep is done.
    unswept: SlotMask,
}

impl Sweeps {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::default(), progress: Condvar::new(), unswept: SlotMask::new() }
    }

    pub(super) fn is_swept(&self, slot: usize) -> bool {
        !self.unswept.get(slot)
    }

    pub(super) fn expect(&self, slot: usize) {
        self.unswept.set(slot);
    }

    /// Queues a closed slot, and starts the sweeper if none runs.
    pub(super) fn start(inner: &Arc<Inner>, slot: usize) {
        let mut queue = inner.sweeps.queue.lock();
        queue.slots[slot / 64] |= 1 << (slot % 64);
        if std::mem::replace(&mut queue.running, true) {
            return;
        }
        drop(queue);
        let sweeper = inner.clone();
        let name = "phyllo-sweep".to_owned();
        // Where no thread can be had, the caller does the work: a slot must not be lost for that.
        if std::thread::Builder::new().name(name).spawn(move || run(&sweeper)).is_err() {
            run(inner);
        }
    }

    /// Blocks until no sweep is queued or under way.
    pub(super) fn wait(&self) {
        let mut queue = self.queue.lock();
        while queue.running {
            self.progress.wait(&mut queue);
        }
    }
}

fn run(inner: &Inner) {
    let sweeps = &inner.sweeps;
    loop {
        let gone = {
            let mut queue = sweeps.queue.lock();
            let gone = std::mem::take(&mut queue.slots);
            if gone == [0; WORDS] {
                queue.running = false;
                sweeps.progress.notify_all();
                return;
            }
            gone
        };
        inner.tables.sweep(&inner.slots, &gone);
        for slot in (0..MAX_SLOTS).filter(|slot| gone[slot / 64] >> (slot % 64) & 1 == 1) {
            sweeps.unswept.clear(slot);
        }
    }
}
