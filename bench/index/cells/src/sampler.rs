//! Wall time of single queries, one after the other, and which of them the kernel interrupted.

use crate::clock::{context_switches, reading_costs};
use crate::rounds::sample;
use crate::timing::Lookup;
use std::hint::black_box;
use std::time::Instant;

/// A query that takes longer than this may have lost its core, and the kernel is asked.
const SLOW_NS: u32 = 5_000;
/// What the goal for a removal calls a delay.
const DELAYED_NS: u32 = 20_000;
/// Values below are counted one by one, those above in buckets 1/64 of a power of two wide: within 1.6 %.
const EXACT: u32 = 128;
const STEPS: u32 = 64;

/// Counts by duration. Small enough (8 kB) to leave the cache to the queries, and it never grows.
struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Histogram {
    fn new() -> Self {
        Self { counts: vec![0; bucket(u32::MAX) + 1], total: 0 }
    }

    fn count(&mut self, ns: u32) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }

    /// The least duration that this share of all does not exceed.
    fn quantile(&self, share: f64) -> u32 {
        let mut left = (self.total as f64 * share).ceil() as u64;
        for (bucket, &count) in self.counts.iter().enumerate() {
            if u64::from(count) >= left {
                return greatest(bucket);
            }
            left -= u64::from(count);
        }
        u32::MAX
    }
}

fn bucket(ns: u32) -> usize {
    if ns < EXACT {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEPS.ilog2();
    (shift * STEPS + (ns >> shift)) as usize
}

/// The greatest duration that falls into the bucket.
fn greatest(bucket: usize) -> u32 {
    let bucket = bucket as u32;
    if bucket < EXACT {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let next = u64::from(bucket - shift * STEPS + 1) << shift;
    (next - 1) as u32
}

/// How long queries took.
pub struct Waits {
    histogram: Histogram,
    longest: u32,
    longest_undisturbed: u32,
    delayed_undisturbed: u32,
}

impl Waits {
    /// Quantiles and the longest, of queries under these `conditions`.
    pub fn sample(&self, subject: &str, conditions: &str) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let ns = f64::from(self.histogram.quantile(share));
            sample(subject, &format!("{name}, {conditions}"), "µs", ns / 1e3);
        }
        self.sample_longest(subject, conditions);
    }

    /// The longest; and of those in which the thread never lost its core, the longest and how many are long.
    pub fn sample_longest(&self, subject: &str, conditions: &str) {
        let us = |ns: u32| f64::from(ns) / 1e3;
        sample(subject, &format!("longest, {conditions}"), "µs", us(self.longest));
        sample(subject, &format!("longest not preempted, {conditions}"), "µs", us(self.longest_undisturbed));
        let delayed = f64::from(self.delayed_undisturbed);
        sample(subject, &format!("over 20 µs not preempted, {conditions}"), "queries", delayed);
    }
}

/// Asks in this order, over and over, until `ended` says so. Each query's time runs from the reading of the clock
/// after the one before, so that whatever delays the thread is in some query's time; one reading's cost is taken off.
pub fn ask_until<L: Lookup>(lookup: &L, order: &[u32], mut ended: impl FnMut(Instant) -> bool) -> Waits {
    let cost = reading_costs();
    let mut scratch = L::Scratch::default();
    order.iter().take(1024).for_each(|&query| lookup.ask(query as usize, &mut scratch));
    let mut waits =
        Waits { histogram: Histogram::new(), longest: 0, longest_undisturbed: 0, delayed_undisturbed: 0 };
    let mut switches = context_switches();
    let mut last = Instant::now();
    for &query in order.iter().cycle() {
        lookup.ask(black_box(query as usize), &mut scratch);
        let now = Instant::now();
        let ns = u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX).saturating_sub(cost);
        last = now;
        waits.histogram.count(ns);
        waits.longest = waits.longest.max(ns);
        if ns <= SLOW_NS {
            waits.longest_undisturbed = waits.longest_undisturbed.max(ns);
        } else {
            let before = std::mem::replace(&mut switches, context_switches());
            if before == switches {
                waits.longest_undisturbed = waits.longest_undisturbed.max(ns);
                waits.delayed_undisturbed += u32::from(ns > DELAYED_NS);
            }
            // Asking the kernel is no part of the next query.
            last = Instant::now();
        }
        if ended(now) {
            break;
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bounds_hold_it() {
        for ns in (0..1 << 16).chain([1 << 20, (1 << 20) - 1, 123_456_789, u32::MAX - 1, u32::MAX]) {
            let at = bucket(ns);
            assert!(greatest(at) >= ns && (at == 0 || greatest(at - 1) < ns), "{ns} in bucket {at}");
            assert!(f64::from(greatest(at)) <= f64::from(ns) * 1.016 + 1.0, "{ns}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|ns| histogram.count(ns));
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| histogram.quantile(share)), [50, 99, 100, 100]);
    }
}
