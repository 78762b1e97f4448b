//! CPU time of events, a block: filling an index, emptying it leaf first, and telling it that pods hold nothing.
//!
//! The clock is the process's, so that work which an index leaves to threads of its own counts. Events are made
//! beforehand. The peer's are freed as they are applied, which is part of its time as it is in production.

use crate::clock::process_cpu;
use crate::dynamo::{self, BINARY, COMPRESSED, RADIX};
use crate::events::{cleared, removed, stored};
use crate::inputs;
use crate::lane::Lane;
use crate::options::Options;
use crate::phyllo;
use crate::rounds::{Rounds, sample};
use crate::workload::{Block, Workload};
use dynamo_kv_router::{RadixTree, RouterEvent, SyncIndexer};
use phyllo_core::hash::SequenceHash;
use phyllo_core::index::owned::OwnedIndex;
use std::sync::mpsc;
use std::time::Duration;

/// Pods that are cleared, and the blocks that they hold.
struct Clears {
    pods: Vec<u16>,
    pairs: usize,
}

impl Clears {
    fn of(workload: &Workload) -> Self {
        const PODS: u16 = 8;
        let pods: Vec<u16> = (0..PODS.min(workload.shape.pods as u16)).collect();
        let pairs = workload.pairs_of(&pods);
        Self { pods, pairs }
    }
}

/// Events made beforehand, for the three parts of a round, in the order in which an index takes them: filled, emptied,
/// filled again, cleared.
trait Events {
    fn stores(workload: &Workload) -> Self;
    fn removals(workload: &Workload) -> Self;
    fn clears(pods: &[u16]) -> Self;
}

trait Subject {
    type Events: Events;
    /// Applies them all; answers the CPU time it took.
    fn run(&mut self, events: Self::Events) -> Duration;
}

fn measure<S: Subject>(name: &str, mut index: S, workload: &Workload, clears: &Clears) {
    let mut part = |metric: &str, events: S::Events, blocks: usize| {
        sample(name, metric, "ns a block", index.run(events).as_nanos() as f64 / blocks as f64);
    };
    part("store CPU", S::Events::stores(workload), workload.pairs);
    part("remove CPU", S::Events::removals(workload), workload.pairs);
    index.run(S::Events::stores(workload));
    let spent = index.run(S::Events::clears(&clears.pods));
    sample(name, "clear CPU", "ns a block", spent.as_nanos() as f64 / clears.pairs as f64);
}

type Batch = (u16, Option<SequenceHash>, Vec<SequenceHash>);

enum Ours {
    Store(Vec<Batch>),
    Remove(Vec<Batch>),
    Clear(Vec<u16>),
}

fn batch(pod: u16, parent: Option<&Block>, blocks: &[Block]) -> Batch {
    let mut hashes = Vec::new();
    phyllo::hashes(blocks, &mut hashes);
    (pod, parent.map(|block| SequenceHash(block.sequence)), hashes)
}

impl Events for Ours {
    fn stores(workload: &Workload) -> Self {
        let mut events = Vec::new();
        workload.stores(|pod, parent, blocks| events.push(batch(pod, parent, blocks)));
        Self::Store(events)
    }

    fn removals(workload: &Workload) -> Self {
        let mut events = Vec::new();
        workload.removals(|pod, blocks| events.push(batch(pod, None, blocks)));
        Self::Remove(events)
    }

    fn clears(pods: &[u16]) -> Self {
        Self::Clear(pods.to_vec())
    }
}

impl Subject for OwnedIndex {
    type Events = Ours;

    fn run(&mut self, events: Ours) -> Duration {
        let index: &OwnedIndex = self;
        let start = process_cpu();
        match &events {
            Ours::Store(batches) => {
                batches
                    .iter()
                    .for_each(|(pod, parent, hashes)| index.store(u32::from(*pod), *parent, hashes));
            }
            Ours::Remove(batches) => {
                batches.iter().for_each(|(pod, _, hashes)| index.remove(u32::from(*pod), hashes));
            }
            Ours::Clear(pods) => pods.iter().for_each(|&pod| index.clear(u32::from(pod))),
        }
        process_cpu() - start
    }
}

/// Of all the peer's indexes.
impl Events for Vec<RouterEvent> {
    fn stores(workload: &Workload) -> Self {
        let mut events = Vec::new();
        workload.stores(|pod, parent, blocks| events.push(stored(pod, parent, blocks)));
        events
    }

    fn removals(workload: &Workload) -> Self {
        let mut events = Vec::new();
        workload.removals(|pod, blocks| events.push(removed(pod, blocks)));
        events
    }

    fn clears(pods: &[u16]) -> Self {
        pods.iter().map(|&pod| cleared(pod)).collect()
    }
}

impl<B: SyncIndexer> Subject for Lane<B> {
    type Events = Vec<RouterEvent>;

    /// The thread is held back until all are in its queue, so that it never has to wait for the next.
    fn run(&mut self, events: Self::Events) -> Duration {
        let (open, gate) = mpsc::channel::<()>();
        let (done, spent) = mpsc::channel();
        self.then(move || {
            // The other end says go by hanging up.
            let _ = gate.recv();
            let _ = done.send(process_cpu());
        });
        events.into_iter().for_each(|event| self.apply(event));
        let (end, ended) = mpsc::channel();
        self.then(move || {
            let _ = end.send(process_cpu());
        });
        drop(open);
        let start = spent.recv().expect("the peer's thread has ended");
        let spent = ended.recv().expect("the peer's thread has ended") - start;
        self.flush();
        spent
    }
}

impl Subject for RadixTree {
    type Events = Vec<RouterEvent>;

    fn run(&mut self, events: Self::Events) -> Duration {
        let start = process_cpu();
        events.into_iter().for_each(|event| dynamo::apply(self, event));
        process_cpu() - start
    }
}

/// One subject's index at a time, empty at first in every round.
pub fn run(options: &Options) -> ! {
    let (workload, inputs) = inputs::build(options.shape, false);
    drop(inputs);
    let clears = Clears::of(&workload);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|_| {
        measure(phyllo::NAME, phyllo::empty(workload.shape.pods), &workload, &clears);
        measure(COMPRESSED, Lane::new(dynamo::compressed()), &workload, &clears);
        measure(BINARY, Lane::new(dynamo::binary()), &workload, &clears);
        measure(RADIX, RadixTree::new(), &workload, &clears);
    })
}
