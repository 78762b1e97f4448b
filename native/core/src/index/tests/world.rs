//! An index and the linear scan side by side, under the same events.

use super::super::naive::NaiveIndex;
use super::super::{Match, Matches, PrefixIndex, Slots, Width, retire};
use super::prompts::Prompts;
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use std::sync::Arc;

/// Pods of a world: enough that more end at one block than a chain bears.
pub(super) const PODS: usize = if cfg!(miri) { 6 } else { 10 };

/// What a store says about the block before its first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parent {
    True,
    /// Not told.
    Untold,
    /// One that nobody holds.
    Unknown,
    /// The last block of a stretch of another prompt; an engine that says so is wrong.
    Wrong(usize, usize),
}

/// In which order, and with what left out, a removal names its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Rising,
    Falling,
    EveryThird,
}

/// What happens to a pod. Blocks `from..to` of a prompt, as its length has them.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Store {
        pod: usize,
        prompt: usize,
        from: usize,
        to: usize,
        parent: Parent,
    },
    Remove {
        pod: usize,
        prompt: usize,
        from: usize,
        to: usize,
        order: Order,
    },
    Clear {
        pod: usize,
    },
    /// Its blocks leave in the background while further events come, late ones of its own too.
    Leave {
        pod: usize,
    },
    /// A new pod in the slot, if the last has left.
    Return {
        pod: usize,
    },
}

/// Both indexes and their pods.
pub(super) struct World<'a> {
    prompts: &'a Prompts,
    slots: Arc<Slots>,
    pub(super) index: PrefixIndex,
    pub(super) naive: NaiveIndex,
    pods: [PodRef; PODS],
    out: Matches,
}

impl<'a> World<'a> {
    /// Pods in slots all over the width, the first and the last among them.
    pub(super) fn new(width: Width, prompts: &'a Prompts) -> Self {
        let slots = Arc::new(Slots::default());
        let index = PrefixIndex::new(width, slots.clone());
        let pods = std::array::from_fn(|pod| PodRef::new((pod * (width.pods() - 1) / (PODS - 1)) as u32, 1));
        let mut world =
            Self { prompts, slots, index, naive: NaiveIndex::default(), pods, out: Matches::default() };
        pods.iter().for_each(|&pod| world.open(pod));
        world
    }

    fn open(&mut self, pod: PodRef) {
        self.slots.open(pod);
        self.slots.show(pod);
        self.naive.add_pod(pod.slot() as u32);
    }

    pub(super) fn play(&mut self, event: &Event) {
        match *event {
            Event::Store { pod, prompt, from, to, parent } => {
                let (pod, hashes) = (self.pods[pod], self.prompts.get(prompt));
                let parent = match parent {
                    Parent::True => from.checked_sub(1).map(|at| hashes[at]),
                    Parent::Untold => None,
                    Parent::Unknown => Some(SequenceHash(u64::MAX / 3)),
                    Parent::Wrong(prompt, block) => Some(self.prompts.get(prompt)[block]),
                };
                self.index.store(pod, parent, &hashes[from..to]);
                self.naive.store(pod.slot() as u32, &hashes[from..to]);
            }
            Event::Remove { pod, prompt, from, to, order } => {
                let pod = self.pods[pod];
                let mut hashes = self.prompts.get(prompt)[from..to].to_vec();
                match order {
                    Order::Rising => {}
                    Order::Falling => hashes.reverse(),
                    Order::EveryThird => hashes = hashes.into_iter().step_by(3).collect(),
                }
                self.index.remove(pod, &hashes);
                self.naive.remove(pod.slot() as u32, &hashes);
            }
            Event::Clear { pod } => {
                self.index.clear(self.pods[pod]);
                self.naive.clear(self.pods[pod].slot() as u32);
            }
            Event::Leave { pod } => self.leave(pod),
            Event::Return { pod } => self.come_back(pod),
        }
    }

    fn leave(&mut self, pod: usize) {
        retire(&self.slots, std::slice::from_ref(&self.index), self.pods[pod]);
        self.naive.remove_pod(self.pods[pod].slot() as u32);
    }

    fn come_back(&mut self, pod: usize) {
        let old = self.pods[pod];
        if !self.slots.is_open(old) {
            self.index.wait_swept();
            self.pods[pod] = PodRef::new(old.slot() as u32, old.generation() + 1);
            self.open(self.pods[pod]);
        }
    }

    /// Every pod leaves, and its blocks too.
    pub(super) fn empty(&mut self) {
        (0..PODS).for_each(|pod| self.leave(pod));
        self.index.wait_swept();
    }

    pub(super) fn ask(&mut self, hashes: &[SequenceHash]) -> Vec<Match> {
        self.index.query(hashes, &mut self.out);
        self.out.as_slice().to_vec()
    }
}
