//! The index against the linear scan, and under threads.

use super::naive::NaiveIndex;
use super::owned::OwnedIndex;
use super::{Match, Matches, PrefixIndex, Slots, Width, retire};
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const WIDTHS: [Width; 3] = [Width::Pods64, Width::Pods256, Width::Pods1024];

/// Hashes of a prompt's blocks; prompts `p` and `p + 100` share their first half.
fn prompt(p: u64, blocks: usize) -> Vec<SequenceHash> {
    let at =
        |p: u64, i: usize| SequenceHash((p * 10_007 + i as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1);
    (0..blocks).map(|i| if i < blocks / 2 { at(p % 100, i) } else { at(p, i) }).collect()
}

fn answer(index: &OwnedIndex, hashes: &[SequenceHash]) -> Vec<Match> {
    let mut out = Matches::default();
    index.query(hashes, &mut out);
    out.as_slice().to_vec()
}

#[derive(Clone, Debug)]
enum Event {
    Store { pod: usize, prompt: u64, from: usize, to: usize },
    Remove { pod: usize, prompt: u64, from: usize, to: usize },
    Clear { pod: usize },
    Replace { pod: usize },
}

const BLOCKS: usize = 24;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let range = (0..6usize, 0..3u64, 0..=BLOCKS, 0..=BLOCKS).prop_map(|(pod, p, a, b)| {
        // Prompts 0, 1 and 100: the last shares its first half with the first.
        (pod, if p == 2 { 100 } else { p }, a.min(b), a.max(b))
    });
    let event = prop_oneof![
        6 => range.clone().prop_map(|(pod, prompt, _, to)| Event::Store { pod, prompt, from: 0, to }),
        2 => range.clone().prop_map(|(pod, prompt, from, to)| Event::Store { pod, prompt, from, to }),
        3 => range.clone().prop_map(|(pod, prompt, from, to)| Event::Remove { pod, prompt, from, to }),
        2 => range.prop_map(|(pod, prompt, from, _)| Event::Remove { pod, prompt, from, to: BLOCKS }),
        1 => (0..6usize).prop_map(|pod| Event::Clear { pod }),
        1 => (0..6usize).prop_map(|pod| Event::Replace { pod }),
    ];
    prop::collection::vec(event, 0..60)
}

/// Runs the events on both indexes. Pods stand in slots all over the width: padding pods keep the ones between.
fn play(width: Width, events: &[Event]) -> (OwnedIndex, NaiveIndex) {
    let (index, mut naive) = (OwnedIndex::new(width), NaiveIndex::default());
    let all: Vec<u32> = (0..width.pods()).map(|_| index.add_pod().expect("room")).collect();
    let mut pods: Vec<u32> = (0..6).map(|i| all[i * (width.pods() - 1) / 5]).collect();
    pods.iter().for_each(|&pod| naive.add_pod(pod));
    for event in events {
        match *event {
            Event::Store { pod, prompt: p, from, to } => {
                let blocks = &prompt(p, BLOCKS)[from..to];
                index.store(pods[pod], None, blocks);
                naive.store(pods[pod], blocks);
            }
            Event::Remove { pod, prompt: p, from, to } => {
                let blocks = &prompt(p, BLOCKS)[from..to];
                index.remove(pods[pod], blocks);
                naive.remove(pods[pod], blocks);
            }
            Event::Clear { pod } => {
                index.clear(pods[pod]);
                naive.clear(pods[pod]);
            }
            Event::Replace { pod } => {
                index.remove_pod(pods[pod]);
                naive.remove_pod(pods[pod]);
                // The index is full but for this slot: the new pod gets it, after its sweep.
                pods[pod] = index.add_pod().expect("room");
                naive.add_pod(pods[pod]);
            }
        }
    }
    (index, naive)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_the_linear_scan_whatever_happened_and_whatever_holes_there_are(events in events()) {
        for width in WIDTHS {
            let (index, naive) = play(width, &events);
            for p in [0, 1, 100] {
                for blocks in 1..=BLOCKS {
                    let hashes = &prompt(p, BLOCKS)[..blocks];
                    prop_assert_eq!(answer(&index, hashes), naive.query(hashes));
                }
            }
            index.wait_swept();
            prop_assert_eq!(index.entries(), naive.entries());
        }
    }

    /// With prefixes only, the answer is the linear scan's, order included, for any length and number of depths.
    #[test]
    fn is_exact_on_contiguous_states(
        depths in prop::collection::vec((0usize..1024, 0usize..400), 0..80), blocks in 0usize..400,
    ) {
        for width in WIDTHS {
            let (index, mut naive) = (OwnedIndex::new(width), NaiveIndex::default());
            (0..width.pods()).for_each(|_| naive.add_pod(index.add_pod().expect("room")));
            let hashes = prompt(1, blocks);
            for &(pod, depth) in &depths {
                let held = &hashes[..depth.min(blocks)];
                index.store((pod % width.pods()) as u32, None, held);
                naive.store((pod % width.pods()) as u32, held);
            }
            prop_assert_eq!(answer(&index, &hashes), naive.query(&hashes));
        }
    }
}

#[test]
fn what_is_stored_twice_goes_by_one_removal_and_the_reverse() {
    let index = OwnedIndex::new(Width::Pods64);
    let (pod, hashes) = (index.add_pod().expect("room"), prompt(1, 8));
    index.store(pod, None, &hashes);
    index.store(pod, None, &hashes);
    assert_eq!(index.entries(), 8);
    index.remove(pod, &hashes[4..]);
    index.remove(pod, &hashes[4..]);
    assert_eq!(answer(&index, &hashes), [Match { slot: pod as u16, depth: 4 }]);
    assert_eq!(index.entries(), 4);
}

#[test]
fn a_foreign_hash_of_zero_is_a_block_like_any_other() {
    let index = OwnedIndex::new(Width::Pods64);
    let pod = index.add_pod().expect("room");
    let zero = [SequenceHash(0)];
    assert_eq!(answer(&index, &zero), []);
    index.store(pod, None, &zero);
    assert_eq!(answer(&index, &zero), [Match { slot: pod as u16, depth: 1 }]);
    index.remove(pod, &zero);
    assert_eq!(answer(&index, &zero), []);
}

#[test]
fn a_full_index_has_no_more_room_and_slots_out_of_range_do_nothing() {
    let index = OwnedIndex::new(Width::Pods64);
    (0..64).for_each(|slot| assert_eq!(index.add_pod(), Some(slot)));
    assert_eq!(index.add_pod(), None);
    for slot in [64, 1023, 1024, u32::MAX] {
        index.store(slot, None, &prompt(1, 4));
        index.clear(slot);
        index.remove_pod(slot);
    }
    assert_eq!(index.entries(), 0);
}

#[test]
fn tables_grow_and_give_their_memory_back_after_churn() {
    let index = OwnedIndex::new(Width::Pods256);
    let empty = index.bytes();
    let (a, b) = (index.add_pod().expect("room"), index.add_pod().expect("room"));
    for p in 0..200 {
        index.store(a, None, &prompt(p, 500));
        index.store(b, None, &prompt(p + 200, 500));
    }
    assert!(index.bytes() > 20 * empty);
    (0..200).for_each(|p| index.remove(a, &prompt(p, 500)));
    index.remove_pod(b);
    index.wait_swept();
    assert_eq!(index.entries(), 0);
    // Numbers of chains, 8 bytes each, are kept.
    assert_settles(&index, empty + (8 << 10));
    // Long churn at a small size stays small.
    for p in 0..3000 {
        index.store(a, None, &prompt(p, 50));
        index.remove(a, &prompt(p, 50));
    }
    assert_settles(&index, 2 * empty);
}

/// Memory that was replaced is free when no thread can look at it any more, of this index or (as they share the epochs)
/// of another test's: that may take a while, but not for ever.
fn assert_settles(index: &OwnedIndex, bytes: usize) {
    for _ in 0..10_000 {
        index.tidy();
        if index.bytes() <= bytes {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} bytes are in use, not at most {bytes}", index.bytes());
}

#[test]
fn hashes_that_differ_only_in_their_low_or_high_bits_spread_over_the_shards() {
    for shift in [0, 16, 32, 44] {
        let hashes: Vec<_> = (1..=65_536u64).map(|i| SequenceHash(i << shift)).collect();
        let index = OwnedIndex::new(Width::Pods64);
        let pod = index.add_pod().expect("room");
        index.store(pod, None, &hashes);
        // 16 bytes an entry at a load of at least 1/5: with hot shards, their size would stand out.
        assert!(index.bytes() < 65_536 * 16 * 6, "shift {shift}: {} bytes", index.bytes());
    }
}

#[test]
fn stores_of_an_earlier_generation_do_not_reach_the_slots_new_pod() {
    let slots = Arc::new(Slots::default());
    let index = PrefixIndex::new(Width::Pods64, slots.clone());
    let (old, new) = (PodRef::new(3, 1), PodRef::new(3, 2));
    let hashes = prompt(1, 8);
    slots.open(old);
    assert!(retire(&slots, std::slice::from_ref(&index), old));
    assert!(!retire(&slots, std::slice::from_ref(&index), old));
    index.wait_swept();
    slots.open(new);
    slots.show(new);
    index.store(old, None, &hashes);
    assert_eq!(index.entries(), 0);
    index.store(new, None, &hashes);
    index.remove(old, &hashes);
    index.clear(old);
    assert_eq!(index.entries(), 8);
}

/// Two planes over the same pods: one removal hides the pod in both, and its slot is free when both are swept.
#[test]
fn one_removal_reaches_every_index_over_the_same_slots() {
    let slots = Arc::new(Slots::default());
    let planes = [Width::Pods64; 2].map(|width| PrefixIndex::new(width, slots.clone()));
    let pod = PodRef::new(9, 1);
    slots.open(pod);
    slots.show(pod);
    planes.iter().for_each(|plane| plane.store(pod, None, &prompt(1, 8)));
    assert!(retire(&slots, &planes, pod));
    for plane in &planes {
        let mut out = Matches::default();
        plane.query(&prompt(1, 8), &mut out);
        assert_eq!(out.as_slice(), []);
        plane.wait_swept();
        assert!(plane.is_swept(9));
        assert_eq!(plane.entries(), 0);
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Readers and writers at once, while pods come and go in the same slots. Each generation of a slot stores only its
/// own prompt, so a block of another generation under a living pod is a stale bit; and a pod whose removal was done
/// before a query began must not be in its answer.
#[test]
fn no_removed_pod_is_answered_and_no_stale_bit_outlives_its_slot() {
    const SLOTS: usize = 8;
    const BLOCKS: usize = 64;
    let slots = Arc::new(Slots::default());
    let index = PrefixIndex::new(Width::Pods256, slots.clone());
    // Low bit: whether the generation above it may be answered.
    let lives: Vec<AtomicU64> = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    // The second half of a prompt twice as long: only first halves are shared between prompts.
    let prompt_of =
        |slot: usize, generation: u64| prompt(generation * 256 + slot as u64, 2 * BLOCKS).split_off(BLOCKS);

    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (index, slots, lives, stop) = (&index, &slots, &lives, &stop);
            scope.spawn(move || {
                // Set when this leaves, by a failed assertion too: else the readers would run on for ever.
                let _stop = StopOnDrop(stop);
                for generation in 1..=60 {
                    for slot in (0..SLOTS).filter(|slot| slot % 2 == thread) {
                        let pod = PodRef::new(slot as u32 * 31, generation);
                        let blocks = prompt_of(slot, generation);
                        slots.open(pod);
                        slots.show(pod);
                        lives[slot].store(generation << 1 | 1, Ordering::SeqCst);
                        index.store(pod, None, &blocks);
                        index.remove(pod, &blocks[BLOCKS / 2..]);
                        index.store(pod, None, &blocks);
                        assert!(retire(slots, std::slice::from_ref(index), pod));
                        lives[slot].store(generation << 1, Ordering::SeqCst);
                        // A late event of a pod that is gone.
                        index.store(pod, None, &blocks);
                    }
                    index.wait_swept();
                    for slot in (0..SLOTS).filter(|slot| slot % 2 == thread) {
                        assert!(index.is_swept(slot * 31));
                    }
                }
            });
        }
        for _ in 0..2 {
            let (index, lives, stop) = (&index, &lives, &stop);
            scope.spawn(move || {
                let mut out = Matches::default();
                while !stop.load(Ordering::SeqCst) {
                    for (slot, life) in lives.iter().enumerate() {
                        let before = life.load(Ordering::SeqCst);
                        let asked = (before >> 1).max(1);
                        index.query(&prompt_of(slot, asked), &mut out);
                        let after = life.load(Ordering::SeqCst);
                        // 0: the first pod may have come during the query.
                        let removed = before & 1 == 0 && (before != 0 || after == 0);
                        for found in out.as_slice() {
                            assert_eq!(found.slot as usize, slot * 31, "a pod that never had this prompt");
                            assert!(!removed, "slot {slot} generation {asked} was removed before the query");
                        }
                    }
                }
            });
        }
    });
    index.wait_swept();
    assert_eq!(index.entries(), 0);
}
