//! One pod's circuit breaker, as one atomic word.
//!
//! Closed, it counts failures in a row. Open, it rests for the cooldown; then exactly one request, the probe, is let
//! through, and its end decides. Kind, failures and time change together, so of many threads one takes the probe.
//!
//! A booking is a pod's number and does not say whether it was the probe, but while one is out nothing else is let in:
//! what ends meanwhile is the probe or was booked before the breaker opened. Either one's success shows that the pod
//! serves, and either one's failure that it does not, so both are judged alike. A cancelled request judges nothing;
//! the probe's place is free again when nothing is in flight any more, since then the probe has ended too.

use std::sync::atomic::{AtomicU64, Ordering};

/// When breakers open and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerOptions {
    /// Consecutive failures that open; 0: failures never do.
    pub failures: u32,
    /// Milliseconds from opening to the first probe.
    pub cooldown_ms: u64,
    /// A first-byte average over this many times the fleet's median opens; 0: latency never does. Below 1 counts as 1.
    pub latency_factor: f64,
    /// … but never an average below this many milliseconds.
    pub latency_floor_ms: f64,
}

const KIND_SHIFT: u32 = 62;
const FAILURES_SHIFT: u32 = 46;
const FAILURES_MAX: u64 = (1 << (KIND_SHIFT - FAILURES_SHIFT)) - 1;
/// 46 bits of milliseconds are 2,200 years.
const SINCE_MASK: u64 = (1 << FAILURES_SHIFT) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed { failures: u64 },
    Open { since: u64 },
    Probing,
}

impl Circuit {
    fn unpack(word: u64) -> Self {
        match word >> KIND_SHIFT {
            0 => Self::Closed { failures: word >> FAILURES_SHIFT },
            1 => Self::Open { since: word & SINCE_MASK },
            _ => Self::Probing,
        }
    }

    fn pack(self) -> u64 {
        match self {
            Self::Closed { failures } => failures.min(FAILURES_MAX) << FAILURES_SHIFT,
            Self::Open { since } => 1 << KIND_SHIFT | since & SINCE_MASK,
            Self::Probing => 2 << KIND_SHIFT,
        }
    }
}

/// What a breaker says to a request; the numbers are the LOAD column's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Advice {
    /// Closed: pass.
    Pass = 0,
    /// Open and resting.
    Rest = 1,
    /// Half open: one may try.
    Try = 2,
    /// Half open, and one is trying.
    Wait = 3,
}

/// A pod's breaker; closed by default.
#[derive(Debug, Default)]
pub(super) struct Breaker(AtomicU64);

impl Breaker {
    /// What a request would be told, with so many in flight at the pod.
    #[inline]
    pub(super) fn advice(&self, options: &BreakerOptions, now: u64, inflight: u32) -> Advice {
        match Circuit::unpack(self.0.load(Ordering::Acquire)) {
            Circuit::Closed { .. } => Advice::Pass,
            Circuit::Open { since } if now >= since.saturating_add(options.cooldown_ms) => Advice::Try,
            Circuit::Open { .. } => Advice::Rest,
            Circuit::Probing if inflight == 0 => Advice::Try,
            Circuit::Probing => Advice::Wait,
        }
    }

    /// Takes the probe's place. The caller has already been counted as in flight, and `others` were before it: so a
    /// probe that is out always counts, and `others == 0` means that none is.
    pub(super) fn take_probe(&self, options: &BreakerOptions, now: u64, others: u32) -> bool {
        let word = self.0.load(Ordering::Acquire);
        match Circuit::unpack(word) {
            // Closed meanwhile, by the end of an earlier request: then this is an ordinary one.
            Circuit::Closed { .. } => true,
            Circuit::Open { since } => {
                now >= since.saturating_add(options.cooldown_ms) && self.change(word, Circuit::Probing)
            }
            // The change is to the same word; it fails if the circuit was opened or closed meanwhile.
            Circuit::Probing => others == 0 && self.change(word, Circuit::Probing),
        }
    }

    fn change(&self, from: u64, to: Circuit) -> bool {
        self.0.compare_exchange(from, to.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn update(&self, mut next: impl FnMut(Circuit) -> Option<Circuit>) -> bool {
        let step = |word| next(Circuit::unpack(word)).map(Circuit::pack);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
    }

    /// A request ended well. While open it changes nothing: the rest is for the pod's sake.
    pub(super) fn succeeded(&self) {
        self.update(|circuit| match circuit {
            Circuit::Closed { failures: 0 } | Circuit::Open { .. } => None,
            Circuit::Closed { .. } | Circuit::Probing => Some(Circuit::Closed { failures: 0 }),
        });
    }

    /// A request failed by the pod's fault.
    pub(super) fn failed(&self, options: &BreakerOptions, now: u64) {
        self.update(|circuit| match circuit {
            Circuit::Open { .. } => None,
            Circuit::Probing => Some(Circuit::Open { since: now }),
            Circuit::Closed { failures }
                if options.failures > 0 && failures + 1 >= u64::from(options.failures) =>
            {
                Some(Circuit::Open { since: now })
            }
            Circuit::Closed { failures } => Some(Circuit::Closed { failures: failures + 1 }),
        });
    }

    /// Opens for slowness; answers whether it was not open before.
    pub(super) fn trip(&self, now: u64) -> bool {
        self.update(|circuit| match circuit {
            Circuit::Open { .. } => None,
            Circuit::Closed { .. } | Circuit::Probing => Some(Circuit::Open { since: now }),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(Circuit::unpack(self.0.load(Ordering::Acquire)), Circuit::Closed { .. })
    }

    pub(super) fn is_probing(&self) -> bool {
        Circuit::unpack(self.0.load(Ordering::Acquire)) == Circuit::Probing
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Release);
    }
}
