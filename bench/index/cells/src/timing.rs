//! CPU time of queries. Wall time would count whoever shares the machine.

use crate::clock::thread_cpu;
use crate::workload::SplitMix;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

/// One way to ask one index.
pub trait Lookup {
    /// What a thread keeps from query to query.
    type Scratch: Default;

    fn ask(&self, query: usize, scratch: &mut Self::Scratch);
}

/// Queries between two readings of the clock (a system call of a quarter of a microsecond).
const STRIDE: usize = 256;

/// Queries in random order, several times as many as there are.
pub fn order(queries: usize, seed: u64) -> Vec<u32> {
    let mut random = SplitMix(seed);
    let length = (queries * 4).next_power_of_two().max(1 << 14);
    (0..length).map(|_| random.below(queries) as u32).collect()
}

/// CPU nanoseconds a query, over one thread per lookup, each of which uses that much CPU time.
pub fn cpu_per_query<L: Lookup + Sync>(lookups: &[&L], queries: usize, round: u64, ms: u64) -> f64 {
    let start = Barrier::new(lookups.len());
    let thread = |number: usize, lookup: &L| {
        let order = order(queries, 77 + number as u64 + 1000 * round);
        start.wait();
        spend(lookup, &order, Duration::from_millis(ms / 5));
        spend(lookup, &order, Duration::from_millis(ms))
    };
    let results: Vec<(u64, Duration)> = std::thread::scope(|scope| {
        let thread = &thread;
        let threads: Vec<_> =
            lookups.iter().enumerate().map(|(i, lookup)| scope.spawn(move || thread(i, lookup))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a query panicked")).collect()
    });
    let asked: u64 = results.iter().map(|(asked, _)| asked).sum();
    let spent: Duration = results.iter().map(|(_, spent)| spent).sum();
    spent.as_nanos() as f64 / asked as f64
}

/// Asks until that much of the thread's CPU time is gone.
fn spend<L: Lookup>(lookup: &L, order: &[u32], time: Duration) -> (u64, Duration) {
    let mut scratch = L::Scratch::default();
    let mut asked = 0;
    let start = thread_cpu();
    for queries in order.chunks(STRIDE).cycle() {
        for &query in queries {
            lookup.ask(black_box(query as usize), &mut scratch);
        }
        asked += queries.len() as u64;
        let spent = thread_cpu() - start;
        if spent >= time {
            return (asked, spent);
        }
    }
    unreachable!("an order is never empty")
}
