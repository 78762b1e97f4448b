//! Random event streams: whatever happened, the answers are the linear scan's.

use super::prompts::{PROMPTS, Prompts, prompts, unseen};
use super::world::{Event, Order, PODS, Parent, World};
use super::{WIDTHS, assert_settles, cases};
use crate::hash::SequenceHash;
use proptest::prelude::*;

/// Longest batch; a writer's piece is 512.
const BATCH: usize = 600;
const EVENTS: std::ops::Range<usize> = if cfg!(miri) { 10..16 } else { 0..90 };

/// A place in a prompt: mostly an eighth of it, so that many pods end at one block, or beside it.
fn place(blocks: usize) -> impl Strategy<Value = usize> + Clone {
    let eighth = (0usize..=8).prop_map(move |eighths| blocks * eighths / 8);
    prop_oneof![
        6 => eighth.clone(),
        1 => eighth.clone().prop_map(|at| at.saturating_sub(1)),
        1 => eighth.prop_map(move |at| blocks.min(at + 1)),
        1 => 0..=blocks,
    ]
}

fn stretch(blocks: usize) -> impl Strategy<Value = (usize, usize)> + Clone {
    (place(blocks), place(blocks)).prop_map(|(a, b)| (a.min(b), a.max(b).min(a.min(b) + BATCH)))
}

/// `wrong`: how many of a hundred stores name a parent that is not theirs.
fn events(blocks: usize, wrong: u32) -> impl Strategy<Value = Vec<Event>> {
    let at = (0..PODS, 0..PROMPTS, stretch(blocks));
    let parent = prop_oneof![
        60 => Just(Parent::True),
        20 => Just(Parent::Untold),
        20 => Just(Parent::Unknown),
        wrong => (0..PROMPTS, 0..blocks).prop_map(|(prompt, block)| Parent::Wrong(prompt, block)),
    ];
    let order =
        prop_oneof![3 => Just(Order::Rising), 3 => Just(Order::Falling), 1 => Just(Order::EveryThird)];
    let event = prop_oneof![
        7 => (0..PODS, 0..PROMPTS, place(blocks), parent.clone()).prop_map(|(pod, prompt, to, parent)| {
            Event::Store { pod, prompt, from: 0, to: to.min(BATCH), parent }
        }),
        5 => (at.clone(), parent).prop_map(|((pod, prompt, (from, to)), parent)| {
            Event::Store { pod, prompt, from, to, parent }
        }),
        3 => (at.clone(), order.clone()).prop_map(|((pod, prompt, (from, to)), order)| {
            Event::Remove { pod, prompt, from, to, order }
        }),
        2 => (at, order).prop_map(move |((pod, prompt, (from, _)), order)| {
            Event::Remove { pod, prompt, from, to: blocks, order }
        }),
        1 => (0..PODS).prop_map(|pod| Event::Clear { pod }),
        1 => (0..PODS).prop_map(|pod| Event::Leave { pod }),
        2 => (0..PODS).prop_map(|pod| Event::Return { pod }),
    ];
    prop::collection::vec(event, EVENTS)
}

fn stories(wrong: u32) -> impl Strategy<Value = (Prompts, Vec<Event>)> {
    prompts().prop_flat_map(move |prompts| {
        let events = events(prompts.blocks(), wrong);
        (Just(prompts), events)
    })
}

/// Of each prompt: all of it and some beyond, and beginnings that go on as nobody knows.
fn requests(prompts: &Prompts) -> Vec<Vec<SequenceHash>> {
    let lengths = |blocks: usize| {
        (0..=8).flat_map(move |eighths| {
            let at = blocks * eighths / 8;
            [at, (at + 1).min(blocks), at.saturating_sub(1)]
        })
    };
    let of = |prompt| {
        let hashes = prompts.get(prompt);
        let lengths = lengths(hashes.len()).enumerate();
        lengths.map(move |(i, length)| hashes[..length].iter().copied().chain(unseen(i % 3 * 7)).collect())
    };
    let step = if cfg!(miri) { 11 } else { 1 };
    (0..PROMPTS).flat_map(of).step_by(step).collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn answers_are_the_linear_scans_whatever_happened((prompts, events) in stories(0)) {
        // Under Miri, the narrowest and the widest, and few looks.
        let (widths, looks) = if cfg!(miri) { (2, 4) } else { (1, 1) };
        for width in WIDTHS.into_iter().step_by(widths) {
            let mut world = World::new(width, &prompts);
            for (i, event) in events.iter().enumerate() {
                world.play(event);
                if i % looks == 0 {
                    let hashes = prompts.get(i / looks % PROMPTS);
                    prop_assert_eq!(world.ask(&hashes), world.naive.query(&hashes), "after event {}", i);
                }
            }
            for hashes in requests(&prompts) {
                prop_assert_eq!(world.ask(&hashes), world.naive.query(&hashes), "{} blocks", hashes.len());
            }
            world.index.wait_swept();
            prop_assert_eq!(world.index.entries(), world.naive.entries());
        }
    }

    /// Whoever asks from the middle on does not see islands, but all of what is held from the beginning on.
    #[test]
    fn a_request_cut_off_at_its_beginning_is_answered_for_pods_without_holes((prompts, events) in stories(0)) {
        let mut world = World::new(WIDTHS[0], &prompts);
        events.iter().for_each(|event| world.play(event));
        let step = if cfg!(miri) { 4 } else { 1 };
        for prompt in 0..PROMPTS {
            let hashes = prompts.get(prompt);
            for from in (1..8).step_by(step).map(|eighths| hashes.len() * eighths / 8) {
                let answer = world.ask(&hashes[from..]);
                prop_assert!(answer.is_sorted_by_key(|found| (std::cmp::Reverse(found.depth), found.slot)));
                for scanned in world.naive.query(&hashes[from..]) {
                    let found = answer.iter().find(|found| found.slot == scanned.slot);
                    let depth = found.map_or(0, |found| found.depth);
                    let whole = world.naive.depth(scanned.slot.into(), &hashes) as usize >= from;
                    prop_assert!(depth == scanned.depth || !whole && depth < scanned.depth, "from {}", from);
                }
                prop_assert!(answer.iter().all(|found| world.naive.depth(found.slot.into(), &hashes[from..]) > 0));
            }
        }
    }

    /// A parent that is not the blocks' own lays them into a chain where they do not belong. A query may then miss
    /// some, but never answers more than is held, and the index forgets them like any others.
    #[test]
    fn wrong_parents_never_add_to_a_depth((prompts, events) in stories(25)) {
        let mut world = World::new(WIDTHS[1], &prompts);
        events.iter().for_each(|event| world.play(event));
        for hashes in requests(&prompts) {
            let answer = world.ask(&hashes);
            prop_assert!(answer.is_sorted_by_key(|found| (std::cmp::Reverse(found.depth), found.slot)));
            for found in answer {
                prop_assert!(found.depth > 0 && found.depth <= world.naive.depth(found.slot.into(), &hashes));
            }
        }
        world.index.wait_swept();
        prop_assert_eq!(world.index.entries(), world.naive.entries());
        world.empty();
        prop_assert_eq!(world.index.entries(), 0);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn memory_goes_back_when_the_last_block_goes((prompts, events) in stories(5), by_removal in any::<bool>()) {
        let mut world = World::new(WIDTHS[2], &prompts);
        let empty = world.index.bytes();
        for event in &events {
            world.play(event);
        }
        if by_removal {
            for pod in 0..PODS {
                for prompt in 0..PROMPTS {
                    let (from, to, order) = (0, prompts.blocks(), Order::Falling);
                    world.play(&Event::Remove { pod, prompt, from, to, order });
                }
            }
            world.index.wait_swept();
        } else {
            world.empty();
        }
        prop_assert_eq!(world.index.entries(), 0);
        // Numbers of chains, 8 bytes each in at most three segments, are kept.
        let in_use = || {
            world.index.tidy();
            world.index.bytes()
        };
        assert_settles(in_use, empty + (14 << 10));
    }
}
