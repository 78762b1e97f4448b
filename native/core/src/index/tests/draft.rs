//! A chain's next snapshot against a table of booleans: who holds which block.

use super::super::draft::Draft;
use super::cases;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Slots at the ends of words and of the set.
const SLOTS: [usize; 8] = [0, 1, 62, 63, 64, 65, 200, 255];
const LONGEST: u32 = 40;
/// Pods that may end at one block, as the writer has it.
const CROWD: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Cover(usize, u32, u32),
    Uncover(usize, u32, u32),
    /// Blocks more, held by that pod.
    Lengthen(usize, u32),
    Trim,
    /// At a share of the length; whether to go on with what is behind.
    Cut(u32, bool),
    DropPods(u8),
    /// Starts from the snapshot again, as the writer's next change does.
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stretch = || (0..SLOTS.len(), 0..LONGEST, 0..LONGEST);
    let step = prop_oneof![
        8 => stretch().prop_map(|(pod, a, b)| Step::Cover(SLOTS[pod], a.min(b), a.max(b) + 1)),
        // From the start on, to one of a few places.
        5 => (0..SLOTS.len(), 1u32..5).prop_map(|(pod, to)| Step::Cover(SLOTS[pod], 0, to * 8)),
        5 => stretch().prop_map(|(pod, a, b)| Step::Uncover(SLOTS[pod], a.min(b), a.max(b) + 1)),
        4 => (0..SLOTS.len(), 1u32..20).prop_map(|(pod, more)| Step::Lengthen(SLOTS[pod], more)),
        2 => Just(Step::Trim),
        1 => (0..LONGEST, any::<bool>()).prop_map(|(at, behind)| Step::Cut(at, behind)),
        1 => any::<u8>().prop_map(|pods| Step::DropPods(pods & pods >> 1)),
        2 => Just(Step::Reload),
    ];
    prop::collection::vec(step, if cfg!(miri) { 15..25 } else { 1..80 })
}

/// By slot: which blocks it holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    len: u32,
    held: BTreeMap<usize, Vec<bool>>,
}

impl Model {
    fn new(len: u32) -> Self {
        Self { len, held: SLOTS.iter().map(|&slot| (slot, vec![false; len as usize])).collect() }
    }

    fn set(&mut self, slot: usize, from: u32, to: u32, held: bool) {
        self.held.entry(slot).or_default()[from as usize..to as usize].fill(held);
    }

    fn lengthen(&mut self, len: u32) {
        self.len = len;
        self.held.values_mut().for_each(|blocks| blocks.resize(len as usize, false));
    }

    fn trim(&mut self) {
        let last = |blocks: &Vec<bool>| blocks.iter().rposition(|&held| held).map_or(0, |at| at as u32 + 1);
        let len = self.held.values().map(last).max().unwrap_or(0);
        self.lengthen(len);
    }

    fn cut(&mut self, at: u32) -> Self {
        let behind = |(&slot, blocks): (&usize, &mut Vec<bool>)| (slot, blocks.split_off(at as usize));
        let held = self.held.iter_mut().map(behind).collect();
        let len = std::mem::replace(&mut self.len, at) - at;
        Self { len, held }
    }

    fn end_of(&self, slot: usize) -> u32 {
        self.held[&slot].iter().take_while(|&&held| held).count() as u32
    }

    fn held(&self) -> u32 {
        (0..self.len as usize).filter(|&at| self.held.values().any(|blocks| blocks[at])).count() as u32
    }

    fn crowded(&self, slot: usize) -> Option<u32> {
        let end = self.end_of(slot);
        let crowd = SLOTS.iter().filter(|&&other| self.end_of(other) == end).count();
        (end > 0 && end < self.len && crowd > CROWD).then_some(end)
    }
}

/// What a draft says, block by block; and what a snapshot and a query rely on.
fn read(draft: &Draft<4>) -> Model {
    let mut model = Model::new(draft.len);
    let mut strangers = draft.whole;
    SLOTS.iter().for_each(|&slot| strangers[slot / 64] &= !(1 << (slot % 64)));
    assert_eq!(strangers, [0; 4]);
    assert!(draft.partials.iter().all(|partial| SLOTS.contains(&partial.slot())));
    assert!(draft.islands.iter().all(|island| SLOTS.contains(&island.slot.into())));
    for slot in SLOTS {
        let whole = draft.whole[slot / 64] >> (slot % 64) & 1 == 1;
        let partials: Vec<_> = draft.partials.iter().filter(|partial| partial.slot() == slot).collect();
        assert!(partials.len() + usize::from(whole) <= 1, "slot {slot} ends twice");
        let end = if whole { draft.len } else { partials.first().map_or(0, |partial| partial.end()) };
        assert!(partials.is_empty() || end > 0 && end < draft.len, "slot {slot} ends at {end}");
        if end > 0 {
            model.set(slot, 0, end, true);
        }
        let mut islands: Vec<_> =
            draft.islands.iter().filter(|island| usize::from(island.slot) == slot).collect();
        islands.sort_by_key(|island| island.from);
        islands.iter().fold(end, |upto, island| {
            assert!(upto < island.from && island.from < island.to && island.to <= draft.len, "{island:?}");
            model.set(slot, island.from, island.to, true);
            island.to
        });
    }
    assert!(draft.partials.is_sorted_by(|a, b| a > b));
    model
}

fn apply(draft: &mut Draft<4>, model: &mut Model, step: &Step) {
    let len = model.len;
    match *step {
        Step::Cover(slot, from, to) if from < len => {
            draft.cover(slot, from, to.min(len));
            model.set(slot, from, to.min(len), true);
        }
        Step::Uncover(slot, from, to) if from < len => {
            draft.uncover(slot, from, to.min(len));
            model.set(slot, from, to.min(len), false);
        }
        Step::Lengthen(slot, more) if len < LONGEST => {
            draft.lengthen(len + more);
            model.lengthen(len + more);
            draft.cover(slot, len, len + more);
            model.set(slot, len, len + more, true);
        }
        Step::Trim => {
            model.trim();
            assert_eq!(draft.trim(), model.len);
        }
        Step::Cut(at, behind) if at > 0 && at < len => {
            let (tail, tail_model) = (draft.cut(at), model.cut(at));
            assert_eq!((read(draft), read(&tail)), (model.clone(), tail_model.clone()));
            assert!(draft.is_changed() && tail.is_changed());
            if behind {
                (*draft, *model) = (tail, tail_model);
            }
        }
        Step::DropPods(pods) => {
            let gone = || SLOTS.into_iter().enumerate().filter(|(bit, _)| pods >> bit & 1 == 1);
            let mut set = [0; 4];
            gone().for_each(|(_, slot)| set[slot / 64] |= 1 << (slot % 64));
            draft.drop_pods(&set);
            gone().for_each(|(_, slot)| model.set(slot, 0, len, false));
        }
        Step::Reload => {
            let (islands, partials) = (draft.islands.clone(), draft.partials.clone());
            let (len, whole) = (draft.len, draft.whole);
            draft.load(None, &islands);
            assert!(!draft.is_changed());
            (draft.len, draft.whole, draft.partials) = (len, whole, partials);
        }
        Step::Cover(..) | Step::Uncover(..) | Step::Lengthen(..) | Step::Cut(..) => {}
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_draft_is_what_a_table_of_booleans_says(steps in steps()) {
        let (mut draft, mut model) = (Draft::<4>::default(), Model::new(0));
        for step in &steps {
            let before = model.clone();
            let was_changed = draft.is_changed();
            apply(&mut draft, &mut model, step);
            prop_assert_eq!(&read(&draft), &model, "after {:?}", step);
            prop_assert_eq!(draft.held(), model.held());
            for slot in SLOTS {
                prop_assert_eq!(draft.crowded(slot, CROWD), model.crowded(slot), "slot {}", slot);
            }
            // What is not said to have changed is not published.
            let reloaded = matches!(step, Step::Reload);
            prop_assert!(reloaded || draft.is_changed() || !was_changed && before == model, "{:?}", step);
        }
    }
}
