//! Requests are booked on pods and given back.
//!
//! A booking holds its slot: while it counts, the slot cannot get a new pod. So what a booking's owner does between
//! `book` and `release` always meets its own pod's counters, removed or not; and `release` lets go of the gate last.

use super::breaker::Advice;
use super::gate::{Phase, Shut};
use super::latency::{is_slow, leaves_half};
use super::load::{Load, Tokens};
use super::pod_ref::PodRef;
use super::table::PodTable;
use std::sync::atomic::Ordering;

/// Why a request was not booked; the numbers are `REFUSED`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Refusal {
    /// Not there, not yet or no more.
    Gone = -1,
    /// Takes no new requests.
    Cordoned = -2,
    /// As many in flight as the bound allows.
    Full = -3,
    /// Its breaker is open, or half open with the probe taken.
    CircuitOpen = -4,
}

impl Refusal {
    /// The number that stands for it.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

impl From<Shut> for Refusal {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::Gone => Self::Gone,
            Shut::Cordoned => Self::Cordoned,
            Shut::Full => Self::Full,
        }
    }
}

/// How a booking ended; the numbers are `OUTCOME`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Served.
    Ok = 0,
    /// Failed by the pod's fault.
    Failed = 1,
    /// Given up for reasons that are not the pod's.
    Cancelled = 2,
}

impl Outcome {
    /// The outcome of that number; an unknown one judges nothing.
    pub const fn of(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Failed,
            _ => Self::Cancelled,
        }
    }
}

/// Columns of [`PodTable::loads`]: in flight, pending tokens, first-byte average, breaker, ready, requests, waiting, KV
/// use, warmth, active tokens.
pub const LOAD_COLUMNS: usize = 10;

impl PodTable {
    /// Counts a request on a pod if it is ready, has fewer than `bound` in flight (0: no bound) and its breaker lets
    /// it pass. Bounds hold exactly, however many threads book at once.
    pub fn book(&self, pod: PodRef, bound: u32, tokens: Tokens) -> Result<(), Refusal> {
        let load = self.load(pod).ok_or(Refusal::Gone)?;
        let view = load.gate.view();
        if view.generation != pod.generation() {
            return Err(Refusal::Gone);
        }
        if load.breaker.is_closed() {
            load.gate.enter(pod, bound)?;
        } else {
            self.book_probe(load, pod, bound)?;
        }
        load.pending.add(tokens.pending.into());
        load.active.add(tokens.active.into());
        Ok(())
    }

    /// The breaker is not closed. The request is counted first and then tries to become the probe, so that a probe is
    /// always in flight; one that comes too late is taken back.
    #[cold]
    fn book_probe(&self, load: &Load, pod: PodRef, bound: u32) -> Result<(), Refusal> {
        let now = self.clock.millis();
        let view = load.gate.view();
        let advice = load.breaker.advice(&self.breakers, now, view.inflight);
        // A cordoned or leaving pod is refused for that, by the gate below.
        if view.phase == Phase::Ready && matches!(advice, Advice::Rest | Advice::Wait) {
            return Err(Refusal::CircuitOpen);
        }
        let others = load.gate.enter(pod, bound)?;
        if !load.breaker.take_probe(&self.breakers, now, others) {
            load.gate.leave(pod);
            return Err(Refusal::CircuitOpen);
        }
        // The average is of the time before the rest; the probe starts a new one.
        load.first_byte.reset();
        Ok(())
    }

    /// The first byte of a booked request came after `ms`; its pending tokens are no longer queued.
    pub fn first_byte(&self, pod: PodRef, ms: f64, pending_tokens: u32) {
        let Some(load) = self.booked(pod) else { return };
        load.pending.take(pending_tokens.into());
        if !(ms.is_finite() && ms >= 0.0) {
            return;
        }
        let (average, samples) = load.first_byte.add(ms);
        if is_slow(&self.loads, &self.breakers, average, samples, load.breaker.is_probing()) {
            self.trip(load);
        }
    }

    /// The answer of a booked request has grown by so many tokens; whoever gives it back gives back those too.
    pub fn grow(&self, pod: PodRef, tokens: u32) {
        if let Some(load) = self.booked(pod) {
            load.active.add(tokens.into());
        }
    }

    #[cold]
    fn trip(&self, load: &Load) {
        let _one_at_a_time = self.tripping.lock();
        // A probe's pod is among the open ones already.
        if load.breaker.is_probing() || leaves_half(&self.loads) {
            load.breaker.trip(self.clock.millis());
        }
    }

    /// Gives a booking back, with the pending tokens that no first byte has freed and all that it holds by now. False
    /// if there was none.
    pub fn release(&self, pod: PodRef, tokens: Tokens, outcome: Outcome) -> bool {
        let Some(load) = self.booked(pod) else { return false };
        load.pending.take(tokens.pending.into());
        load.active.take(tokens.active.into());
        match outcome {
            Outcome::Ok => load.breaker.succeeded(),
            Outcome::Failed => load.breaker.failed(&self.breakers, self.clock.millis()),
            Outcome::Cancelled => {}
        }
        load.gate.leave(pod)
    }

    /// The slot's counters, while it is this pod's.
    pub(super) fn current(&self, pod: PodRef) -> Option<&Load> {
        self.load(pod).filter(|load| load.gate.view().generation == pod.generation())
    }

    /// The slot's counters, if the pod has a booking there.
    fn booked(&self, pod: PodRef) -> Option<&Load> {
        let load = self.load(pod)?;
        let view = load.gate.view();
        (view.generation == pod.generation() && view.inflight > 0).then_some(load)
    }

    /// Writes the load columns of all slots that were ever used, column c of slot s at `c * width + s`, and answers
    /// how many slots that are (highest + 1). Writes nothing if `out` is shorter than `LOAD_COLUMNS` × width.
    pub fn loads(&self, out: &mut [f64]) -> usize {
        let width = self.width();
        if out.len() < LOAD_COLUMNS * width {
            return 0;
        }
        let used = self.used.load(Ordering::Acquire);
        let now = self.clock.millis();
        let mut columns = out.chunks_exact_mut(width);
        let mut column = || columns.next().expect("as many as LOAD_COLUMNS");
        let columns: [&mut [f64]; LOAD_COLUMNS] = std::array::from_fn(|_| column());
        for (slot, load) in self.loads[..used].iter().enumerate() {
            let view = load.gate.view();
            let engine = load.engine.view(view.inflight, now, self.slow_start_ms);
            let figures = [
                f64::from(view.inflight),
                load.pending.get() as f64,
                load.first_byte.get().0,
                f64::from(load.breaker.advice(&self.breakers, now, view.inflight) as u8),
                f64::from(u8::from(view.phase == Phase::Ready)),
                engine.requests,
                engine.waiting,
                engine.kv_use,
                engine.warmth,
                load.active.get() as f64,
            ];
            for c in 0..LOAD_COLUMNS {
                columns[c][slot] = figures[c];
            }
        }
        used
    }
}
