//! What is counted per slot, on cache lines of its own: a booking on one pod never slows one on another.

use super::breaker::Breaker;
use super::engine::Engine;
use super::gate::Gate;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// Weight of a new first-byte time in the average: 1/8, TCP's for round-trip times (RFC 6298). Half of the average is
/// then made by the last 5 requests: quick enough to see a pod get slow, and one outlier moves it by an eighth.
const SMOOTHING: f32 = 1.0 / 8.0;

/// A moving average and the number of samples behind it, in one word so that they change together.
#[derive(Debug, Default)]
pub(super) struct Average(AtomicU64);

impl Average {
    /// Average in ms (0 while there is none) and number of samples.
    #[inline]
    pub(super) fn get(&self) -> (f64, u32) {
        let (value, samples) = unpack(self.0.load(Ordering::Relaxed));
        (f64::from(value), samples)
    }

    /// Adds a sample and answers what is then.
    pub(super) fn add(&self, ms: f64) -> (f64, u32) {
        let next = |word| {
            let (value, samples) = unpack(word);
            let ms = ms as f32;
            let value = if samples == 0 { ms } else { value + SMOOTHING * (ms - value) };
            (value, samples.saturating_add(1))
        };
        let step = |word| {
            let (value, samples) = next(word);
            Some(u64::from(value.to_bits()) << 32 | u64::from(samples))
        };
        // The closure always gives a word, so both arms hold the word that was replaced.
        let (Ok(before) | Err(before)) = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        let (value, samples) = next(before);
        (f64::from(value), samples)
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

/// A count that takes what is given back and never goes below 0, whatever a caller gives back twice.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, amount: u64) {
        if amount > 0 {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub(super) fn take(&self, amount: u64) {
        if amount > 0 {
            let step = |now: u64| Some(now.saturating_sub(amount));
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        }
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What a request adds to its pod's tallies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Uncached prompt tokens, until its first byte.
    pub pending: u32,
    /// Tokens that it holds in the KV cache, until its end.
    pub active: u32,
}

/// One slot.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Generation, phase, requests in flight.
    pub(super) gate: Gate,
    pub(super) breaker: Breaker,
    /// Uncached prompt tokens whose first byte is still to come.
    pub(super) pending: Tally,
    /// Tokens that the requests in flight hold in the KV cache: their prompts', and what is known of their answers'.
    pub(super) active: Tally,
    /// Time to the first byte, ms.
    pub(super) first_byte: Average,
    pub(super) engine: Engine,
}

/// The slots, each on its own lines.
pub(super) type Loads = Box<[CachePadded<Load>]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_starts_at_the_first_sample_and_follows_by_eighths() {
        let average = Average::default();
        assert_eq!(average.get(), (0.0, 0));
        assert_eq!(average.add(80.0), (80.0, 1));
        assert_eq!(average.add(160.0), (90.0, 2));
        assert_eq!(average.get(), (90.0, 2));
    }

    #[test]
    fn a_tally_never_goes_below_nothing() {
        let tally = Tally::default();
        tally.add(5);
        tally.take(3);
        tally.take(30);
        assert_eq!(tally.get(), 0);
    }
}
