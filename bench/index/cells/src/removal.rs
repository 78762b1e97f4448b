//! The longest query while a pod with 100,000 blocks is removed.
//!
//! Half of its blocks are those of the queries, the other half are its own. On a busy machine a query may also be long
//! because its thread lost the core, so there is a control: as long a time, in which the other thread only computes.

use crate::dynamo::{self, COMPRESSED};
use crate::events::stored;
use crate::inputs::{self, Inputs, next_block};
use crate::lane::Lane;
use crate::options::Options;
use crate::phyllo;
use crate::rounds::{Rounds, sample};
use crate::sampler::{Waits, ask_until};
use crate::timing::{Lookup, order};
use crate::workload::{BATCH, Block, SplitMix, Workload};
use dynamo_kv_router::SyncIndexer;
use dynamo_kv_router::indexer::WorkerTask;
use phyllo_core::hash::SequenceHash;
use phyllo_core::index::owned::OwnedIndex;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const BLOCKS: usize = 100_000;

/// Chains that the pod holds.
fn victims_chains(workload: &Workload) -> Vec<Vec<Block>> {
    let stored = workload.shape.stored();
    let of_queries = workload.chains.iter().map(|chain| chain[..stored].to_vec());
    let mut chains: Vec<Vec<Block>> = of_queries.take(BLOCKS / 2 / stored).collect();
    let mut random = SplitMix(77);
    while chains.len() < BLOCKS / stored {
        let mut chain: Vec<Block> = Vec::with_capacity(stored);
        for _ in 0..stored {
            chain.push(next_block(chain.last(), &random.tokens()));
        }
        chains.push(chain);
    }
    chains
}

/// Parent and blocks of each event that stores a chain.
fn batches(chain: &[Block]) -> impl Iterator<Item = (Option<&Block>, &[Block])> {
    (0..chain.len()).step_by(BATCH).map(|at| {
        let parent = at.checked_sub(1).map(|before| &chain[before]);
        (parent, &chain[at..chain.len().min(at + BATCH)])
    })
}

/// Asks while another thread does `work`; how long that took, too.
fn ask_during<L: Lookup + Sync>(
    lookup: &L,
    inputs: &Inputs,
    round: u64,
    work: impl FnOnce() + Send,
) -> (Waits, Duration) {
    let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let order = order(inputs.local.len(), 9000 + round);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // Not a lock: its wake-up would fall into the time that is looked at.
            while !begun.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            work();
            ended.store(true, Ordering::Relaxed);
            start.elapsed()
        });
        let waits = ask_until(lookup, &order, |_| {
            begun.store(true, Ordering::Relaxed);
            ended.load(Ordering::Relaxed)
        });
        (waits, worker.join().expect("a removal panicked"))
    })
}

fn compute(time: Duration) {
    let end = Instant::now() + time;
    let mut random = SplitMix(1);
    while Instant::now() < end {
        (0..100).for_each(|_| {
            black_box(random.next());
        });
    }
}

fn measure<L: Lookup + Sync>(
    subject: &str,
    lookup: &L,
    inputs: &Inputs,
    round: u64,
    remove: impl FnOnce() + Send,
) {
    let (waits, time) = ask_during(lookup, inputs, round, remove);
    waits.sample_longest(subject, "pod removed");
    sample(subject, "removal takes", "µs", time.as_secs_f64() * 1e6);
    let (waits, _) = ask_during(lookup, inputs, round, || compute(time));
    waits.sample_longest(subject, "control");
}

fn ours(index: &OwnedIndex, victim: &[Vec<Block>], inputs: &Inputs, round: u64) {
    let pod = index.add_pod().expect("there is room for a pod more");
    let mut hashes = Vec::new();
    for (parent, blocks) in victim.iter().flat_map(|chain| batches(chain)) {
        phyllo::hashes(blocks, &mut hashes);
        index.store(pod, parent.map(|block| SequenceHash(block.sequence)), &hashes);
    }
    measure(phyllo::NAME, &phyllo::ByHashes { index, inputs }, inputs, round, || {
        index.remove_pod(pod);
        index.wait_swept();
    });
}

fn peer<B: SyncIndexer>(
    name: &str,
    lane: &mut Lane<B>,
    pod: u16,
    victim: &[Vec<Block>],
    inputs: &Inputs,
    round: u64,
) {
    for (parent, blocks) in victim.iter().flat_map(|chain| batches(chain)) {
        lane.apply(stored(pod, parent, blocks));
    }
    lane.flush();
    let index = lane.index.clone();
    measure(name, &dynamo::ByHashes { index: index.as_ref(), inputs }, inputs, round, || {
        let (resp, removed) = oneshot::channel();
        lane.task(WorkerTask::RemoveWorker { worker_id: u64::from(pod), sweep_tree: true, resp });
        removed.blocking_recv().expect("the peer's thread has ended");
    });
}

/// Ours and the peer's fastest.
pub fn run(options: &Options) -> ! {
    let (workload, inputs) = inputs::build(options.shape, false);
    let victim = victims_chains(&workload);
    let pods = workload.shape.pods;
    let index = phyllo::roomy(pods, pods + 1);
    phyllo::fill(&index, &workload);
    let mut compressed = dynamo::filled(dynamo::compressed(), &workload);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|round| {
        ours(&index, &victim, &inputs, round);
        peer(COMPRESSED, &mut compressed, pods as u16, &victim, &inputs, round);
        phyllo::check(&index, &inputs, &workload);
        dynamo::check(COMPRESSED, compressed.index.as_ref(), &inputs, &workload);
    })
}
