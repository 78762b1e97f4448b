//! Whether the router's count of tokens is the engine's, by shape of request.
//!
//! A count that differs means tokens that differ, and block hashes that no engine has. After
//! [`STRIKES`] differing answers in a row a shape is matched as text. Fewer would let one odd request (a proxy in
//! between that rewrites prompts, an engine that is just being replaced) take the exact prefix from all of its shape;
//! more would leave a template that is not understood to misroute. One difference among agreements does not count: what
//! makes it is then some rare content of a request, and the others are routed well.
//!
//! The cause may go away (the operator sets the right chat template, the engine is upgraded), so one request in
//! [`SAMPLE`] of a distrusted shape is still counted exactly, and [`AGREEMENTS`] agreeing answers in a row bring trust
//! back. One in 64 costs the shape 1.6 % of its matches. 16 in a row would come about by chance once in 65,536 tries
//! where half of the requests agree, and a shape of which nine in ten agree comes back soon, as it should: for it
//! tokens are better than text.

use super::Shape;
use std::sync::atomic::{AtomicU32, Ordering};

/// Differing answers in a row that cost a shape its trust.
pub const STRIKES: u32 = 3;
/// Agreeing answers in a row that give it back.
pub const AGREEMENTS: u32 = 16;
/// Of so many requests of a distrusted shape one is counted exactly.
pub const SAMPLE: u32 = 64;

/// What an engine's count of prompt tokens says of the router's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They are equal.
    Agrees,
    /// They are not.
    Differs,
    /// They are not, for the last time: requests of the shape are matched as text from now on.
    Distrusted,
}

/// One word per shape: the lowest bit is 1 for a distrusted shape, the next [`RUN_BITS`] count the answers in a row
/// that speak against the present state, the rest the requests since it was distrusted.
pub(super) struct Trust(Box<[AtomicU32]>);

const DISTRUSTED: u32 = 1;
const RUN_BITS: u32 = 7;
const RUN: u32 = ((1 << RUN_BITS) - 1) << 1;
const RUN_ONE: u32 = 1 << 1;
const REQUEST_ONE: u32 = 1 << (RUN_BITS + 1);

impl Default for Trust {
    fn default() -> Self {
        Self((0..Shape::COUNT).map(|_| AtomicU32::new(0)).collect())
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let distrusted = |word: &&AtomicU32| word.load(Ordering::Relaxed) & DISTRUSTED != 0;
        formatter
            .debug_struct("Trust")
            .field("distrusted", &self.0.iter().filter(distrusted).count())
            .finish()
    }
}

impl Trust {
    /// Whether this request of the shape should be counted exactly.
    pub(super) fn admits(&self, shape: Shape) -> bool {
        let word = &self.0[shape.index()];
        if word.load(Ordering::Relaxed) & DISTRUSTED == 0 {
            return true;
        }
        // The counter is in the highest bits, so it wraps around without touching the others.
        let before = word.fetch_add(REQUEST_ONE, Ordering::Relaxed);
        (before / REQUEST_ONE) % SAMPLE == SAMPLE - 1
    }

    /// Takes in an answer's count.
    pub(super) fn check(&self, shape: Shape, counted: u32, engine: u32) -> Agreement {
        let agrees = counted == engine;
        let word = &self.0[shape.index()];
        let before = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let after = judged(word, agrees);
            (after != word).then_some(after)
        });
        match (agrees, before) {
            (true, _) => Agreement::Agrees,
            (false, Ok(word)) if word & DISTRUSTED == 0 && judged(word, false) & DISTRUSTED != 0 => {
                Agreement::Distrusted
            }
            (false, _) => Agreement::Differs,
        }
    }
}

/// A shape's word after one more answer.
fn judged(word: u32, agrees: bool) -> u32 {
    let distrusted = word & DISTRUSTED != 0;
    if agrees != distrusted {
        return word & !RUN;
    }
    let longest = if distrusted { AGREEMENTS } else { STRIKES };
    let run = (word & RUN) / RUN_ONE + 1;
    match (run >= longest, distrusted) {
        (false, _) => (word & !RUN) | (run * RUN_ONE),
        (true, false) => DISTRUSTED,
        (true, true) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::BodyKind;
    use proptest::prelude::*;

    const CHAT: Shape = Shape::of(BodyKind::Chat);

    fn distrusted() -> Trust {
        let trust = Trust::default();
        for left in (0..STRIKES).rev() {
            let expected = if left == 0 { Agreement::Distrusted } else { Agreement::Differs };
            assert_eq!(trust.check(CHAT, 1, 2), expected);
        }
        trust
    }

    #[test]
    fn a_shape_is_distrusted_after_three_differences_in_a_row_and_no_other_shape_with_it() {
        let trust = distrusted();
        let tools = CHAT.with(Shape::TOOLS, true);
        assert!((0..SAMPLE - 1).all(|_| !trust.admits(CHAT)));
        assert!(trust.admits(CHAT));
        assert!((0..SAMPLE - 1).all(|_| !trust.admits(CHAT)));
        assert!((0..SAMPLE).all(|_| trust.admits(tools)));
        assert_eq!(trust.check(CHAT, 1, 2), Agreement::Differs, "it is said once");
    }

    #[test]
    fn agreement_in_between_starts_the_count_anew() {
        let trust = Trust::default();
        for _ in 0..10 {
            assert_eq!(trust.check(CHAT, 1, 2), Agreement::Differs);
            assert_eq!(trust.check(CHAT, 1, 2), Agreement::Differs);
            assert_eq!(trust.check(CHAT, 2, 2), Agreement::Agrees);
        }
        assert!(trust.admits(CHAT));
    }

    #[test]
    fn sixteen_agreements_in_a_row_bring_trust_back() {
        let trust = distrusted();
        for round in 0..AGREEMENTS - 1 {
            assert_eq!(trust.check(CHAT, 7, 7), Agreement::Agrees, "{round}");
        }
        assert_eq!(trust.check(CHAT, 7, 8), Agreement::Differs);
        for _ in 0..AGREEMENTS {
            assert!(!trust.admits(CHAT));
            trust.check(CHAT, 7, 7);
        }
        assert!((0..SAMPLE).all(|_| trust.admits(CHAT)));
    }

    proptest! {
        /// Against a state machine in plain words; the requests' counter wraps around many times on the way.
        #[test]
        fn is_the_state_machine(answers in prop::collection::vec((any::<bool>(), 0..3_u32), 0..400)) {
            let trust = Trust::default();
            trust.0[CHAT.index()].store(u32::MAX << (RUN_BITS + 1), Ordering::Relaxed);
            let (mut bad, mut run) = (false, 0);
            for (agrees, requests) in answers {
                for _ in 0..requests {
                    let admitted = trust.admits(CHAT);
                    prop_assert!(bad || admitted);
                }
                let said = trust.check(CHAT, 1, if agrees { 1 } else { 2 });
                run = if agrees == bad { run + 1 } else { 0 };
                let turns = run == if bad { AGREEMENTS } else { STRIKES };
                prop_assert_eq!(said, match (agrees, turns) {
                    (true, _) => Agreement::Agrees,
                    (false, true) => Agreement::Distrusted,
                    (false, false) => Agreement::Differs,
                });
                if turns {
                    (bad, run) = (!bad, 0);
                }
                prop_assert_eq!(trust.0[CHAT.index()].load(Ordering::Relaxed) & DISTRUSTED != 0, bad);
            }
        }
    }

    /// Whatever the order, exactly one of the threads is told of the turn.
    #[test]
    fn one_thread_hears_of_the_distrust() {
        for _ in 0..200 {
            let trust = Trust::default();
            let told: usize = std::thread::scope(|scope| {
                let check = || (0..4).filter(|_| trust.check(CHAT, 1, 2) == Agreement::Distrusted).count();
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(check)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            assert_eq!(told, 1);
        }
    }
}
