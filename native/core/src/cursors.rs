//! Named counters that all threads advance together: round robin stays even across workers.

use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Values wrap here, so that each one is an exact JavaScript number.
const WRAP: u64 = 1 << 53;

/// A table of counters by name. Names are the configuration's (a profile's picker), so none is ever dropped.
#[derive(Debug, Default)]
pub struct Cursors {
    named: RwLock<HashMap<Box<str>, Arc<AtomicU64>>>,
}

impl Cursors {
    /// The next value of that counter: 0, 1, 2, … over all threads, each value given once (up to 2^53).
    pub fn next(&self, name: &str) -> u64 {
        if let Some(cursor) = self.named.read().get(name) {
            return cursor.fetch_add(1, Ordering::Relaxed) % WRAP;
        }
        self.cursor(name).fetch_add(1, Ordering::Relaxed) % WRAP
    }

    /// The counter itself, for a caller that keeps it and skips the look-up.
    pub fn cursor(&self, name: &str) -> Arc<AtomicU64> {
        self.named.write().entry(name.into()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_given_once_over_all_threads() {
        let cursors = Cursors::default();
        let mut seen: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).map(|_| cursors.next("a")).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..4000).collect::<Vec<_>>());
    }

    #[test]
    fn names_are_apart_and_values_wrap_where_doubles_end() {
        let cursors = Cursors::default();
        assert_eq!((cursors.next("a"), cursors.next("b"), cursors.next("a")), (0, 0, 1));
        cursors.cursor("a").store(WRAP - 1, Ordering::Relaxed);
        assert_eq!((cursors.next("a"), cursors.next("a")), (WRAP - 1, 0));
    }
}
