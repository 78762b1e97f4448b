//! One word that says whether a request may be booked on a slot, and counts those that were.
//!
//! Generation, phase and in-flight count change together by compare-and-swap. So a booking can neither slip in after
//! a pod was removed, nor land on the slot's next pod, nor pass a bound, however many threads book at once; and a slot
//! can be handed on only from the state "leaving, nothing in flight".

use super::pod_ref::{MAX_GENERATION, PodRef};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a pod is in its life; the numbers are `podStatus`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The slot has no pod.
    Free = 0,
    /// Added, but not yet known to all workers.
    Joining = 1,
    /// May be picked.
    Ready = 2,
    /// Takes no new requests; what is known of its cache stays.
    Cordoned = 3,
    /// Removed; its last requests run on.
    Leaving = 4,
}

impl Phase {
    fn of(bits: u64) -> Self {
        match bits {
            1 => Self::Joining,
            2 => Self::Ready,
            3 => Self::Cordoned,
            4 => Self::Leaving,
            _ => Self::Free,
        }
    }
}

/// 20 bits: a million requests on one pod, beyond any socket table. The rest is 3 bits of phase, 41 of generation.
const COUNT_BITS: u32 = 20;
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;
const PHASE_BITS: u32 = 3;

/// The word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) generation: u64,
    pub(super) phase: Phase,
    pub(super) inflight: u32,
}

impl View {
    fn unpack(word: u64) -> Self {
        Self {
            generation: word >> (COUNT_BITS + PHASE_BITS),
            phase: Phase::of(word >> COUNT_BITS & 7),
            inflight: (word & u64::from(MAX_COUNT)) as u32,
        }
    }

    fn pack(self) -> u64 {
        self.generation << (COUNT_BITS + PHASE_BITS)
            | (self.phase as u64) << COUNT_BITS
            | u64::from(self.inflight)
    }
}

/// A slot's gate.
#[derive(Debug, Default)]
pub(super) struct Gate(AtomicU64);

/// Why the gate did not let a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    Gone,
    Cordoned,
    Full,
}

impl Gate {
    pub(super) fn view(&self) -> View {
        View::unpack(self.0.load(Ordering::Acquire))
    }

    /// Changes the word as `next` says, until it says `Err` or no other thread came between. Answers what was before.
    fn update<E>(&self, mut next: impl FnMut(View) -> Result<View, E>) -> Result<View, E> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let before = View::unpack(word);
            let after = next(before)?.pack();
            match self.0.compare_exchange_weak(word, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(before),
                Err(now) => word = now,
            }
        }
    }

    /// Counts one more request, if fewer than `bound` (0: any number) are in flight. Answers how many were before.
    pub(super) fn enter(&self, pod: PodRef, bound: u32) -> Result<u32, Shut> {
        let bound = if bound == 0 { MAX_COUNT } else { bound.min(MAX_COUNT) };
        let before = self.update(|view| match view.phase {
            _ if view.generation != pod.generation() => Err(Shut::Gone),
            Phase::Cordoned => Err(Shut::Cordoned),
            Phase::Ready if view.inflight >= bound => Err(Shut::Full),
            Phase::Ready => Ok(View { inflight: view.inflight + 1, ..view }),
            Phase::Free | Phase::Joining | Phase::Leaving => Err(Shut::Gone),
        })?;
        Ok(before.inflight)
    }

    /// Counts one less. False, and nothing changes, if the pod has nothing in flight. The caller touches the slot no
    /// more after this: it may have a new pod at once.
    pub(super) fn leave(&self, pod: PodRef) -> bool {
        self.update(|view| match view.inflight.checked_sub(1) {
            Some(inflight) if view.generation == pod.generation() => Ok(View { inflight, ..view }),
            _ => Err(()),
        })
        .is_ok()
    }

    /// Moves the pod to phase `to` if it is in one of `from`.
    pub(super) fn advance(&self, pod: PodRef, from: &[Phase], to: Phase) -> bool {
        self.update(|view| {
            let fits = view.generation == pod.generation() && from.contains(&view.phase);
            if fits { Ok(View { phase: to, ..view }) } else { Err(()) }
        })
        .is_ok()
    }

    /// Gives the slot to its next pod, joining, and answers its generation. The caller holds the table's lock and has
    /// seen the slot free or left, so nothing else changes the word.
    pub(super) fn hand_on(&self) -> u64 {
        let generation = self.view().generation % MAX_GENERATION + 1;
        self.0.store(View { generation, phase: Phase::Joining, inflight: 0 }.pack(), Ordering::Release);
        generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks_every_phase() {
        for phase in [Phase::Free, Phase::Joining, Phase::Ready, Phase::Cordoned, Phase::Leaving] {
            let view = View { generation: MAX_GENERATION, phase, inflight: MAX_COUNT };
            assert_eq!(View::unpack(view.pack()), view);
        }
    }

    #[test]
    fn counts_stop_at_the_words_end_and_at_nothing() {
        let gate = Gate::default();
        let pod = PodRef::new(0, gate.hand_on());
        assert_eq!(gate.enter(pod, 0), Err(Shut::Gone));
        assert!(gate.advance(pod, &[Phase::Joining], Phase::Ready));
        assert!(!gate.leave(pod));
        gate.0.store(View { inflight: MAX_COUNT, ..gate.view() }.pack(), Ordering::Relaxed);
        assert_eq!(gate.enter(pod, 0), Err(Shut::Full));
        assert_eq!(gate.view().generation, 1);
    }
}
