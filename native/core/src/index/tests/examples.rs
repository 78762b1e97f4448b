//! One state, one answer.

use super::super::naive::NaiveIndex;
use super::super::owned::OwnedIndex;
use super::super::{Match, Matches, PrefixIndex, Slots, Width, retire};
use super::{WIDTHS, answer, assert_settles, cases, prompt};
use crate::hash::SequenceHash;
use crate::pods::PodRef;
use proptest::prelude::*;
use std::sync::Arc;

proptest! {
    #![proptest_config(cases(96))]

    /// With prefixes only, the answer is the linear scan's, order included, for any length and number of depths.
    #[test]
    #[cfg_attr(miri, ignore = "fills 1,024 slots, again and again")]
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

    /// Of two planes over the same pods, each pod's greater depth.
    #[test]
    fn two_planes_are_answered_as_the_deeper_of_both(
        depths in prop::collection::vec((0usize..64, 0usize..=16, any::<bool>()), 0..40),
    ) {
        let slots = Arc::new(Slots::default());
        let planes = [Width::Pods64; 2].map(|width| PrefixIndex::new(width, slots.clone()));
        let hashes = prompt(1, 16);
        let mut deeper = NaiveIndex::default();
        (0..64).for_each(|slot| deeper.add_pod(slot));
        for (slot, depth, plane) in depths {
            let pod = PodRef::new(slot as u32, 1);
            slots.open(pod);
            slots.show(pod);
            planes[usize::from(plane)].store(pod, None, &hashes[..depth]);
            deeper.store(slot as u32, &hashes[..depth]);
        }
        let mut out = Matches::default();
        planes[0].query(&hashes, &mut out);
        planes[1].query_more(&hashes, &mut out);
        prop_assert_eq!(out.as_slice(), deeper.query(&hashes));
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
#[cfg_attr(miri, ignore = "half a million blocks")]
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
    let in_use = || {
        index.tidy();
        index.bytes()
    };
    // Numbers of chains, 8 bytes each, are kept.
    assert_settles(in_use, empty + (8 << 10));
    // Long churn at a small size stays small.
    for p in 0..3000 {
        index.store(a, None, &prompt(p, 50));
        index.remove(a, &prompt(p, 50));
    }
    assert_settles(in_use, 2 * empty);
}

#[test]
#[cfg_attr(miri, ignore = "a quarter of a million blocks")]
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

#[test]
fn the_number_0_is_no_pod_not_even_of_the_empty_slot_0() {
    let slots = Arc::new(Slots::default());
    let index = PrefixIndex::new(Width::Pods64, slots.clone());
    let nobody = PodRef::from_raw(0);
    assert!(!index.accepts(nobody));
    index.store(nobody, None, &prompt(1, 8));
    assert_eq!(index.entries(), 0);
    assert!(!retire(&slots, std::slice::from_ref(&index), nobody));
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
