//! Bytes: what a filled index has of the heap and in memory, and what it keeps of them when it is empty again.

use crate::clock::resident;
use crate::dynamo::{self, BINARY, COMPRESSED, RADIX};
use crate::events::{removed, stored};
use crate::inputs;
use crate::lane::Lane;
use crate::options::Options;
use crate::phyllo;
use crate::rounds::{Rounds, sample};
use crate::workload::{BATCH, Workload};
use dynamo_kv_router::SyncIndexer;
use dynamo_kv_router::indexer::WorkerTask;
use phyllo_core::exact::{EngineHash, EngineMap};
use phyllo_core::hash::SequenceHash;
use phyllo_core::index::Matches;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::Duration;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, which counts the bytes asked for if [`run`] has begun: in the other tables it costs a load
/// and a branch that is always taken alike.
pub struct Counting;

fn count(bytes: isize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: all is done by the system's allocator, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(start, layout, size) }
    }
}

/// Memory before a subject was there.
struct Before {
    live: isize,
    resident: i64,
    pairs: f64,
}

impl Before {
    fn now(workload: &Workload) -> Self {
        trim();
        Self { live: LIVE.load(Ordering::Relaxed), resident: resident(), pairs: workload.pairs as f64 }
    }

    fn sample(&self, subject: &str, state: &str) {
        trim();
        let live = (LIVE.load(Ordering::Relaxed) - self.live) as f64 / self.pairs;
        sample(subject, &format!("heap, {state}"), "bytes a pair", live);
        let resident = (resident() - self.resident) as f64 / self.pairs;
        sample(subject, &format!("resident, {state}"), "bytes a pair", resident);
    }
}

/// Gives back what the allocator holds of freed memory, after threads of their own had time to free theirs.
fn trim() {
    std::thread::sleep(Duration::from_millis(100));
    // SAFETY: touches nothing but the allocator's own free lists, under its own locks.
    unsafe { libc::malloc_trim(0) };
}

const FILLED: &str = "filled";
const ENGINE_HASHES: &str = "engine hashes";
const NAMES: u64 = 0x6a09_e667_f3bc_c908;
const EMPTIED: &str = "filled and emptied";
/// Events that follow when all is removed, and leave nothing: what was retired may be freed as later ones come.
const LATER: usize = 1_000;

fn ours(workload: &Workload) {
    let before = Before::now(workload);
    let index = phyllo::filled(workload);
    before.sample(phyllo::NAME, FILLED);
    let mut batch = Vec::new();
    workload.removals(|pod, blocks| {
        phyllo::hashes(blocks, &mut batch);
        index.remove(u32::from(pod), &batch);
    });
    let mut matches = Matches::default();
    for _ in 0..LATER {
        phyllo::hashes(&workload.chains[0][..BATCH], &mut batch);
        index.store(0, None, &batch);
        index.query(&batch, &mut matches);
        index.remove(0, &batch);
    }
    assert_eq!(index.entries(), 0, "all is removed");
    drop((batch, matches));
    before.sample(phyllo::NAME, EMPTIED);
}

/// The engines' own names of the blocks, which exact state keeps for each pod besides the index.
fn names(workload: &Workload) {
    let before = Before::now(workload);
    let mut maps: Vec<EngineMap> = (0..workload.shape.pods).map(|_| EngineMap::default()).collect();
    workload.stores(|pod, _, blocks| {
        for block in blocks {
            // An engine's hash is as good as random to ours, and its own.
            let name = EngineHash(block.sequence.rotate_left(32) ^ NAMES);
            maps[usize::from(pod)].add(name, SequenceHash(block.sequence));
        }
    });
    before.sample(phyllo::NAME, ENGINE_HASHES);
    drop(maps);
}

fn peer<B: SyncIndexer>(name: &str, index: impl Fn() -> B, workload: &Workload) {
    let before = Before::now(workload);
    let mut lane: Lane<B> = dynamo::filled(index(), workload);
    before.sample(name, FILLED);
    workload.removals(|pod, blocks| lane.feed(removed(pod, blocks)));
    for _ in 0..LATER {
        lane.feed(stored(0, None, &workload.chains[0][..BATCH]));
        lane.feed(removed(0, &workload.chains[0][..BATCH]));
    }
    // It runs this every five minutes.
    lane.task(WorkerTask::CleanupStaleChildren);
    lane.flush();
    before.sample(name, EMPTIED);
}

fn radix(workload: &Workload) {
    let before = Before::now(workload);
    let mut tree = dynamo::filled_radix(workload);
    before.sample(RADIX, FILLED);
    workload.removals(|pod, blocks| dynamo::apply(&mut tree, removed(pod, blocks)));
    before.sample(RADIX, EMPTIED);
}

/// One subject's index at a time.
pub fn run(options: &Options) -> ! {
    COUNTS.store(true, Ordering::Relaxed);
    let (workload, inputs) = inputs::build(options.shape, false);
    drop(inputs);
    Rounds::ready(workload.pairs, workload.shape.groups).each(|_| {
        ours(&workload);
        names(&workload);
        peer(COMPRESSED, dynamo::compressed, &workload);
        peer(BINARY, dynamo::binary, &workload);
        radix(&workload);
    })
}
