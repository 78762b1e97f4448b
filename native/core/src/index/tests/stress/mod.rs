//! Readers and writers at once, and what must hold at every moment.
//!
//! Each pod has one writer, which knows what the pod holds; prompts are shared by all, so that the writers' chains are
//! cut, lengthened and trimmed under each other's feet. Of each pod and prompt a word says between which bounds the
//! depth is: a writer widens it before a change and narrows it after. A reader that finds the same word before and
//! after a query has a depth within these bounds, so that all of this would be seen: a pod that was removed, a bit
//! that outlives its slot's pod, a depth beyond what was stored, a depth below what is held throughout.

mod writer;

use super::super::naive::NaiveIndex;
use super::super::{Matches, PrefixIndex, Slots, Width, retire};
use super::prompts::{PROMPTS, Prompts, Spread, unseen};
use crate::hash::SequenceHash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use writer::Writer;

const WRITERS: usize = if cfg!(miri) { 2 } else { 3 };
const READERS: usize = if cfg!(miri) { 1 } else { 3 };
/// Pods of one writer.
const PODS: usize = if cfg!(miri) { 3 } else { 6 };
const BLOCKS: usize = if cfg!(miri) { 16 } else { 96 };
const STEPS: usize = if cfg!(miri) { 8 } else { 3000 };

/// Steele, Lea and Flood's SplitMix64: the same steps in every run, in whatever order threads take them.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % limit as u64) as usize
    }
}

/// Bounds of one pod's depth on one prompt: from the low bits on, 16 for the largest, 16 for the least, and how often
/// they were set.
#[derive(Default)]
struct Bounds(AtomicU64);

impl Bounds {
    /// By the pod's writer alone.
    fn set(&self, least: usize, most: usize) {
        let version = (self.0.load(Ordering::Relaxed) >> 32) + 1;
        self.0.store(version << 32 | (least as u64) << 16 | most as u64, Ordering::SeqCst);
    }

    fn of(word: u64) -> (usize, usize) {
        ((word >> 16 & 0xFFFF) as usize, (word & 0xFFFF) as usize)
    }
}

struct Shared {
    slots: Arc<Slots>,
    index: PrefixIndex,
    prompts: Vec<Vec<SequenceHash>>,
    /// By pod and prompt.
    bounds: Vec<[Bounds; PROMPTS]>,
    stop: AtomicBool,
    /// Depths that were compared with bounds, and those among them that were not 0.
    checked: AtomicUsize,
    held: AtomicUsize,
}

fn slot_of(pod: usize) -> u32 {
    // Over all words of the set.
    (pod * 255 / (WRITERS * PODS - 1)) as u32
}

/// Stops the readers when a writer leaves, by a failed assertion too: else they would run on for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn read(shared: &Shared, mut random: Random) {
    let mut out = Matches::default();
    let words = |prompt: usize| -> Vec<u64> {
        shared.bounds.iter().map(|bounds| bounds[prompt].0.load(Ordering::SeqCst)).collect()
    };
    while !shared.stop.load(Ordering::SeqCst) {
        let prompt = random.below(PROMPTS);
        let length = BLOCKS * (1 + random.below(8)) / 8;
        let known = shared.prompts[prompt][..length].iter().copied();
        let hashes: Vec<SequenceHash> = known.chain(unseen(random.below(3) * 5)).collect();
        let before = words(prompt);
        shared.index.query(&hashes, &mut out);
        let after = words(prompt);
        let found = out.as_slice();
        assert!(found.is_sorted_by(|a, b| (b.depth, a.slot) < (a.depth, b.slot)), "{found:?}");
        assert!(found.iter().all(|found| (1..=length).contains(&(found.depth as usize))), "{found:?}");
        assert!(found.iter().all(|found| (0..before.len()).any(|pod| slot_of(pod) == u32::from(found.slot))));
        for pod in (0..before.len()).filter(|&pod| before[pod] == after[pod]) {
            let depth = found.iter().find(|found| u32::from(found.slot) == slot_of(pod));
            let depth = depth.map_or(0, |found| found.depth as usize);
            let (least, most) = Bounds::of(before[pod]);
            let bounds = least.min(length)..=most.min(length);
            assert!(
                bounds.contains(&depth),
                "pod {pod}, {length} blocks of {prompt}: {depth}, not {bounds:?}"
            );
            shared.checked.fetch_add(1, Ordering::Relaxed);
            shared.held.fetch_add(usize::from(depth > 0), Ordering::Relaxed);
        }
    }
}

#[test]
fn readers_see_what_is_held_while_writers_share_every_chain() {
    let slots = Arc::new(Slots::default());
    let leaves = vec![(0, 0), (0, BLOCKS / 2), (0, BLOCKS / 4), (1, BLOCKS * 3 / 4), (0, 1), (0, 0)];
    let prompts = Prompts::new(BLOCKS, leaves, Spread::Even);
    let shared = Shared {
        index: PrefixIndex::new(Width::Pods256, slots.clone()),
        slots,
        prompts: (0..PROMPTS).map(|prompt| prompts.get(prompt)).collect(),
        bounds: (0..WRITERS * PODS).map(|_| Default::default()).collect(),
        stop: AtomicBool::new(false),
        checked: AtomicUsize::new(0),
        held: AtomicUsize::new(0),
    };
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(&shared, number)).collect();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let shared = &shared;
            scope.spawn(move || read(shared, Random(1000 + reader as u64)));
        }
        for writer in &mut writers {
            scope.spawn(|| {
                let _stop = StopOnDrop(&shared.stop);
                (0..STEPS).for_each(|_| writer.step());
            });
        }
    });
    assert!(
        [&shared.checked, &shared.held].iter().all(|count| count.load(Ordering::Relaxed) > 0),
        "the readers saw nothing"
    );

    // The end: what the pods hold, put together anew.
    let mut all = NaiveIndex::default();
    let mut out = Matches::default();
    for (writer, own) in writers.iter().flat_map(|writer| (0..PODS).map(move |own| (writer, own))) {
        let slot = slot_of(writer.first + own);
        all.add_pod(slot);
        for hashes in &shared.prompts {
            let held = hashes.iter().copied().filter(|&hash| writer.held.holds(slot, hash));
            all.store(slot, &held.collect::<Vec<_>>());
        }
    }
    shared.index.wait_swept();
    assert_eq!(shared.index.entries(), all.entries());
    for hashes in &shared.prompts {
        for length in (1..=BLOCKS).rev().step_by(BLOCKS / 16) {
            shared.index.query(&hashes[..length], &mut out);
            assert_eq!(out.as_slice(), all.query(&hashes[..length]));
        }
    }
    for (writer, own) in writers.iter().flat_map(|writer| (0..PODS).map(move |own| (writer, own))) {
        assert!(retire(&shared.slots, std::slice::from_ref(&shared.index), writer.pod(own)));
    }
    shared.index.wait_swept();
    assert_eq!(shared.index.entries(), 0);
}
