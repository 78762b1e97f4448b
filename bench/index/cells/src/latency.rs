//! Wall time of queries while another thread applies 500,000 blocks of events a second, and while none does.

use crate::churn::{Pace, Update, script};
use crate::dynamo::{self, COMPRESSED};
use crate::inputs::{self, Inputs};
use crate::lane::Lane;
use crate::options::Options;
use crate::phyllo;
use crate::rounds::{Rounds, sample};
use crate::sampler::{Waits, ask_until};
use crate::timing::{Lookup, order};
use crate::workload::Workload;
use dynamo_kv_router::SyncIndexer;
use phyllo_core::hash::SequenceHash;
use phyllo_core::index::owned::OwnedIndex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const BLOCKS_A_SECOND: usize = 500_000;

struct Cell<'a> {
    workload: &'a Workload,
    inputs: &'a Inputs,
    updates: &'a [Update],
    round: u64,
    ms: u64,
}

impl Cell<'_> {
    fn idle<L: Lookup>(&self, subject: &str, lookup: &L) {
        let end = Instant::now() + Duration::from_millis(self.ms);
        self.ask(lookup, |now| now >= end).sample(subject, "idle");
    }

    fn ask<L: Lookup>(&self, lookup: &L, ended: impl FnMut(Instant) -> bool) -> Waits {
        ask_until(lookup, &order(self.inputs.local.len(), 9000 + self.round), ended)
    }

    fn report(&self, subject: &str, waits: &Waits, spent: Duration) {
        waits.sample(subject, "updates");
        let blocks: usize = self.updates.iter().map(|update| update.blocks.len()).sum();
        sample(subject, "blocks applied", "thousand/s", blocks as f64 / spent.as_secs_f64() / 1e3);
    }

    fn ours(&self, index: &OwnedIndex) {
        let lookup = phyllo::ByHashes { index, inputs: self.inputs };
        self.idle(phyllo::NAME, &lookup);
        let (ended, start) = (AtomicBool::new(false), Barrier::new(2));
        let batches: Vec<Vec<SequenceHash>> = self.updates.iter().map(sequence).collect();
        let (waits, spent) = std::thread::scope(|scope| {
            let updater = scope.spawn(|| {
                start.wait();
                let began = Instant::now();
                self.apply(index, &batches);
                ended.store(true, Ordering::Relaxed);
                began.elapsed()
            });
            start.wait();
            let waits = self.ask(&lookup, |_| ended.load(Ordering::Relaxed));
            (waits, updater.join().expect("an update panicked"))
        });
        self.report(phyllo::NAME, &waits, spent);
        phyllo::check(index, self.inputs, self.workload);
    }

    fn apply(&self, index: &OwnedIndex, batches: &[Vec<SequenceHash>]) {
        let pace = Pace::new(BLOCKS_A_SECOND);
        let mut batches = batches.iter();
        for (number, updates) in pace.strides(self.updates).enumerate() {
            pace.wait(number);
            for (update, batch) in updates.iter().zip(&mut batches) {
                let pod = u32::from(update.pod);
                match update.parent {
                    Some(parent) => index.store(pod, Some(SequenceHash(parent.sequence)), batch),
                    None => index.remove(pod, batch),
                }
            }
        }
    }

    /// The events wait in the queue of the peer's thread, which sleeps between them as ours does.
    fn dynamo<B: SyncIndexer>(&self, subject: &str, lane: &mut Lane<B>) {
        let index = lane.index.clone();
        let lookup = dynamo::ByHashes { index: index.as_ref(), inputs: self.inputs };
        self.idle(subject, &lookup);
        let (ended, start) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        let pace = Arc::new(Pace::new(BLOCKS_A_SECOND));
        let gate = start.clone();
        lane.then(move || {
            gate.wait();
        });
        for (number, updates) in pace.strides(self.updates).enumerate() {
            let pace = pace.clone();
            lane.then(move || pace.wait(number));
            updates.iter().for_each(|update| lane.apply(update.event()));
        }
        let end = ended.clone();
        lane.then(move || end.store(true, Ordering::Relaxed));
        start.wait();
        let began = Instant::now();
        let waits = self.ask(&lookup, |_| ended.load(Ordering::Relaxed));
        self.report(subject, &waits, began.elapsed());
        lane.flush();
        dynamo::check(subject, index.as_ref(), self.inputs, self.workload);
    }
}

fn sequence(update: &Update) -> Vec<SequenceHash> {
    let mut hashes = Vec::new();
    phyllo::hashes(&update.blocks, &mut hashes);
    hashes
}

/// Ours and the peer's fastest.
pub fn run(options: &Options) -> ! {
    let (workload, inputs) = inputs::build(options.shape, false);
    let ours = phyllo::filled(&workload);
    let mut compressed = dynamo::filled(dynamo::compressed(), &workload);
    let updates = script(&workload, BLOCKS_A_SECOND * options.ms as usize / 1000);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|round| {
        let cell = Cell { workload: &workload, inputs: &inputs, updates: &updates, round, ms: options.ms };
        cell.ours(&ours);
        cell.dynamo(COMPRESSED, &mut compressed);
    })
}
