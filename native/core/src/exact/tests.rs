//! Copies, modes and the budget.

use super::*;
use crate::index::{Matches, Slots, Width, retire};
use std::sync::Arc;

struct Fleet {
    slots: Arc<Slots>,
    exact: Exact,
}

fn fleet(pods: u32) -> Fleet {
    let slots = Arc::new(Slots::default());
    let exact = Exact::new(
        PrefixIndex::new(Width::Pods64, slots.clone()),
        PrefixIndex::new(Width::Pods64, slots.clone()),
    );
    let fleet = Fleet { slots, exact };
    (0..pods).for_each(|slot| {
        fleet.join(PodRef::new(slot, 1));
    });
    fleet
}

impl Fleet {
    fn join(&self, pod: PodRef) -> bool {
        self.slots.open(pod);
        self.slots.show(pod);
        self.exact.begin(pod)
    }

    fn depth(&self, pod: PodRef, prompt: u64) -> u32 {
        let mut out = Matches::default();
        self.exact.index.query(&hashes(prompt), &mut out);
        out.as_slice()
            .iter()
            .find(|found| usize::from(found.slot) == pod.slot())
            .map_or(0, |found| found.depth)
    }
}

const BLOCKS: u64 = 40;

fn hashes(prompt: u64) -> Vec<SequenceHash> {
    (0..BLOCKS).map(|i| SequenceHash((prompt << 16 | i).wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1)).collect()
}

/// A prompt's blocks under the names of an engine.
fn blocks(prompt: u64) -> Vec<(EngineHash, SequenceHash)> {
    hashes(prompt).into_iter().map(|hash| (EngineHash(!hash.0), hash)).collect()
}

fn names(prompt: u64) -> Vec<EngineHash> {
    blocks(prompt).into_iter().map(|block| block.0).collect()
}

#[test]
fn a_block_is_held_until_its_last_copy_is_removed() {
    let fleet = fleet(1);
    let pod = PodRef::new(0, 1);
    let all = blocks(1);
    fleet.exact.store(pod, Medium::Gpu, None, &all[..10]);
    // A second copy of some, and new ones behind them.
    fleet.exact.store(pod, Medium::Gpu, Some(all[4].1), &all[5..20]);
    assert_eq!(fleet.depth(pod, 1), 20);
    let mut gone = Vec::new();
    fleet.exact.remove(pod, Medium::Gpu, &names(1)[5..20], &mut gone);
    assert_eq!(fleet.depth(pod, 1), 10);
    fleet.exact.remove(pod, Medium::Gpu, &names(1)[5..20], &mut gone);
    assert_eq!(fleet.depth(pod, 1), 5);
    assert_eq!(fleet.exact.block(pod, names(1)[4]), Some(all[4].1));
    assert_eq!(fleet.exact.block(pod, names(1)[5]), None);
}

#[test]
fn a_pod_is_exact_from_its_beginning_to_its_demotion() {
    let fleet = fleet(2);
    let (pod, other) = (PodRef::new(0, 1), PodRef::new(1, 1));
    fleet.exact.store(pod, Medium::Gpu, None, &blocks(1));
    fleet.exact.store(other, Medium::Gpu, None, &blocks(1));
    assert!(fleet.exact.is_exact(pod) && fleet.exact.pods() == 2);
    fleet.exact.demote(pod);
    assert!(!fleet.exact.is_exact(pod) && fleet.exact.pods() == 1);
    fleet.exact.store(pod, Medium::Gpu, None, &blocks(1));
    assert_eq!((fleet.depth(pod, 1), fleet.depth(other, 1)), (0, BLOCKS as u32));
    // Its engine starts anew.
    assert!(fleet.exact.begin(pod));
    fleet.exact.store(pod, Medium::Gpu, None, &blocks(1)[..3]);
    assert_eq!(fleet.depth(pod, 1), 3);
    assert!(fleet.exact.begin(pod));
    assert_eq!((fleet.depth(pod, 1), fleet.exact.is_exact(pod)), (0, true));
}

#[test]
fn a_slots_next_pod_has_nothing_of_the_last() {
    let fleet = fleet(1);
    let (old, new) = (PodRef::new(0, 1), PodRef::new(0, 2));
    fleet.exact.store(old, Medium::Gpu, None, &blocks(1));
    assert!(retire(&fleet.slots, &[fleet.exact.index.clone(), fleet.exact.lower.clone()], old));
    fleet.exact.forget(old);
    fleet.exact.index.wait_swept();
    assert!(!fleet.exact.begin(old));
    assert!(fleet.join(new));
    fleet.exact.store(old, Medium::Gpu, None, &blocks(1));
    assert_eq!((fleet.depth(new, 1), fleet.exact.pods()), (0, 1));
}

#[test]
fn over_the_budget_the_pods_of_least_use_become_predicted() {
    let fleet = fleet(8);
    let pods: Vec<PodRef> = (0..8).map(|slot| PodRef::new(slot, 1)).collect();
    for (i, &pod) in pods.iter().enumerate() {
        (0..50).for_each(|prompt| fleet.exact.store(pod, Medium::Gpu, None, &blocks(prompt * 8 + i as u64)));
        fleet.exact.used(pod, 1000 << i);
    }
    fleet.exact.used(pods[0], 1_000_000);
    let bytes = fleet.exact.bytes();
    fleet.exact.fit(bytes);
    assert_eq!((fleet.exact.pods(), fleet.exact.demoted()), (8, 0));
    fleet.exact.fit(bytes / 2);
    let exact: Vec<usize> = (0..8).filter(|&i| fleet.exact.is_exact(pods[i])).collect();
    assert!((2..=4).contains(&exact.len()), "{exact:?}");
    assert!(exact.contains(&0) && exact.contains(&7) && !exact.contains(&1), "{exact:?}");
    assert!(fleet.exact.bytes() <= bytes / 2, "{} of {bytes}", fleet.exact.bytes());
    fleet.exact.fit(0);
    assert_eq!((fleet.exact.pods(), fleet.exact.demoted()), (0, 8));
}

#[test]
fn the_number_0_is_no_exact_pod_though_slot_0_is_predicted() {
    let fleet = fleet(0);
    let (none, pod) = (PodRef::from_raw(0), PodRef::new(0, 1));
    fleet.exact.store(none, Medium::Gpu, None, &blocks(1));
    assert!(!fleet.exact.is_exact(none));
    assert!(fleet.join(pod));
    fleet.exact.store(pod, Medium::Gpu, None, &blocks(1));
    assert_eq!(fleet.depth(pod, 1), BLOCKS as u32);
}
