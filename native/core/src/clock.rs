//! The one clock of a state: real, or virtual and set by hand, so that the simulator runs the same code.
//!
//! Time is kept as whole microseconds since the clock's origin: 2^53 µs (what a double holds exactly) are 285 years,
//! and integers compare and pack into atomics where an `f64` would not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A monotonic clock, shared by reference.
#[derive(Debug)]
pub struct Clock(Kind);

#[derive(Debug)]
enum Kind {
    Real(Instant),
    Virtual(AtomicU64),
}

impl Clock {
    /// Runs with the machine's monotonic clock, from 0 at this call.
    pub fn real() -> Self {
        Self(Kind::Real(Instant::now()))
    }

    /// Stands still at 0 until [`Clock::set`].
    pub fn manual() -> Self {
        Self(Kind::Virtual(AtomicU64::new(0)))
    }

    /// Whether time only moves by [`Clock::set`].
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Kind::Virtual(_))
    }

    /// Microseconds since the origin.
    pub fn micros(&self) -> u64 {
        match &self.0 {
            // 2^64 µs are half a million years; the cast cannot lose anything.
            Kind::Real(origin) => origin.elapsed().as_micros() as u64,
            Kind::Virtual(now) => now.load(Ordering::Acquire),
        }
    }

    /// Whole milliseconds since the origin.
    pub fn millis(&self) -> u64 {
        self.micros() / 1000
    }

    /// Milliseconds since the origin, with their fraction.
    pub fn now(&self) -> f64 {
        self.micros() as f64 / 1000.0
    }

    /// Moves a virtual clock to `ms` and answers whether it is one. An earlier time than the present is ignored: LRU
    /// order and time stamps are the same order only as long as time does not run backwards.
    pub fn set(&self, ms: f64) -> bool {
        let Kind::Virtual(now) = &self.0 else { return false };
        // `as` saturates: a NaN or a negative number is 0, which is never later than the present.
        now.fetch_max((ms * 1000.0).round() as u64, Ordering::AcqRel);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_stands_still_and_never_goes_back() {
        let clock = Clock::manual();
        assert_eq!(clock.now(), 0.0);
        assert!(clock.set(1234.567));
        assert_eq!((clock.now(), clock.millis(), clock.micros()), (1234.567, 1234, 1_234_567));
        for earlier in [1000.0, -1.0, f64::NAN] {
            assert!(clock.set(earlier));
            assert_eq!(clock.now(), 1234.567);
        }
    }

    #[test]
    fn a_real_clock_runs_and_cannot_be_set() {
        let clock = Clock::real();
        let before = clock.micros();
        assert!(!clock.set(1e12));
        std::thread::sleep(std::time::Duration::from_millis(2));
        let after = clock.micros();
        assert!(after >= before + 2000 && after < 1_000_000_000);
    }
}
