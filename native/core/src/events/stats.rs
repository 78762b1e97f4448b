//! Counts of a pod's event stream, written by the thread that receives and read by whoever shows them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One slot's counts; they start anew with each feed.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct FeedStats {
    /// Milliseconds that the last batch was under way, by both clocks; as an `f64`'s bits.
    lag_ms: AtomicU64,
    /// Number of the last batch applied, plus 1; 0 before the first.
    sequence: AtomicI64,
    /// Batches applied.
    pub batches: AtomicU64,
    /// Blocks stored and removed.
    pub events: AtomicU64,
    /// Times that numbers were missing.
    pub gaps: AtomicU64,
    /// Batches that never came.
    pub lost: AtomicU64,
    /// Replays asked for.
    pub replays: AtomicU64,
    /// Batches that a replay brought.
    pub replayed: AtomicU64,
    /// Stored blocks that could not be placed.
    pub orphans: AtomicU64,
    /// Messages that could not be read.
    pub malformed: AtomicU64,
    /// Times that the engine started anew.
    pub restarts: AtomicU64,
    /// Batches that came again, or too late.
    pub duplicates: AtomicU64,
}

/// Words of [`FeedStats::words`].
pub const FEED_WORDS: usize = 12;

impl FeedStats {
    /// One more, or several.
    #[inline]
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn applied(&self, sequence: u64, lag_ms: f64) {
        self.sequence.store(sequence as i64 + 1, Ordering::Relaxed);
        if lag_ms.is_finite() {
            self.lag_ms.store(lag_ms.to_bits(), Ordering::Relaxed);
        }
        Self::add(&self.batches, 1);
    }

    pub(super) fn reset(&self) {
        self.lag_ms.store(0, Ordering::Relaxed);
        self.sequence.store(0, Ordering::Relaxed);
        self.counters().iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    fn counters(&self) -> [&AtomicU64; 10] {
        [
            &self.batches,
            &self.events,
            &self.gaps,
            &self.lost,
            &self.replays,
            &self.replayed,
            &self.orphans,
            &self.malformed,
            &self.restarts,
            &self.duplicates,
        ]
    }

    /// Lag, sequence, then the counters in the order of the fields; the last twelve words of `CACHE`.
    pub fn words(&self) -> [f64; FEED_WORDS] {
        let mut words = [0.0; FEED_WORDS];
        words[0] = f64::from_bits(self.lag_ms.load(Ordering::Relaxed));
        words[1] = (self.sequence.load(Ordering::Relaxed) - 1) as f64;
        for (word, counter) in words[2..].iter_mut().zip(self.counters()) {
            *word = counter.load(Ordering::Relaxed) as f64;
        }
        words
    }
}
